"""Sources of rows: the same rows each time, however often; never held at once; and refused when they are others."""

from __future__ import annotations

import json
import os
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import ManifestError
from producer.enqueued import Enqueued, as_told
from producer.manifests.manifest import Row, good_rows
from producer.manifests.sources import ManifestFile, Repeated


def manifest(folder: Path, rows: int, **more: object) -> Path:
    path = folder / "m.jsonl"
    line = json.dumps({"images": ["a.png", "b.png"], **more})
    path.write_text(f"{line}\n" * rows)
    return path


def test_the_same_rows_each_time(tmp_path: Path) -> None:
    source = ManifestFile(manifest(tmp_path, 3))
    first = list(source.rows())
    assert [row.line for row in first] == [1, 2, 3]
    assert list(source.rows()) == first


@pytest.mark.parametrize("how", ["written in place", "another file", "removed"])
def test_a_manifest_that_changes_is_refused_before_its_next_row(tmp_path: Path, how: str) -> None:
    path = manifest(tmp_path, 1000)
    source = ManifestFile(path)
    assert len(list(source.rows())) == 1000
    rows = source.rows()
    next(rows)
    match how:
        case "written in place":
            with path.open("a") as file:
                file.write("\n")
        case "another file":
            kept = path.stat()
            path.rename(tmp_path / "old")
            path.write_text((tmp_path / "old").read_text())
            os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
        case _:
            path.unlink()
    with pytest.raises(ManifestError, match="was changed while it was being run"):
        next(rows)


def test_rows_as_they_were_enqueued(tmp_path: Path) -> None:
    path = manifest(tmp_path, 2, custom_id="é", metadata={"a": [1, "\u2028"]})
    path.write_text(path.read_text() + '{"images": ["https://u:sesame@x.test/a.png", "data:image/png;base64,AAAA"]}\n')
    source = Repeated(ManifestFile(path), 2)
    rows = [as_told(row) for row in good_rows(source.name, source.rows())]
    with Enqueued(tmp_path, tmp_path) as enqueued:
        for number, row in enumerate(rows):
            enqueued.add(row, f"job_{number}")
        assert list(enqueued.entries()) == [(row, f"job_{number}") for number, row in enumerate(rows)]
        assert "sesame" not in repr(rows)
        assert enqueued.differences(source) is None
        lines = path.read_text().splitlines()
        path.write_text("\n".join(lines[::-1]))
        assert enqueued.differences(source) is None, "the same rows, elsewhere"
        path.write_text("\n".join([lines[0], '{"images": ["c.png", "d.png"]}', '{"images": []}']))
        assert enqueued.differences(source) == "rows that are others by now: 2 new, 4 gone, 1 bad"
        path.unlink()
        assert "no such file" in (enqueued.differences(source) or "")


def test_a_manifest_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such file"):
        next(ManifestFile(tmp_path / "none.csv").rows())


def peak_bytes(path: Path) -> int:
    """What going through the manifest takes, its error included."""
    tracemalloc.start()
    try:
        with suppress(ManifestError):
            assert sum(isinstance(row, Row) for row in good_rows("m", ManifestFile(path).rows()))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("count", "more"),
    [(2_000, {"metadata": {"a": "x" * 2_000}}), (5_000, {"state": "x" * 300})],
    ids=["good", "bad"],
)
def test_neither_rows_nor_endless_problems_are_held(tmp_path: Path, count: int, more: dict[str, Any]) -> None:
    peak_bytes(manifest(tmp_path, 10, **more))  # what is loaded once
    path = manifest(tmp_path, count, **more)
    assert peak_bytes(path) < path.stat().st_size


def test_the_first_problems_are_named_and_all_are_counted(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="300 bad rows") as caught:
        list(good_rows("m", ManifestFile(manifest(tmp_path, 300, state="x" * 300)).rows()))
    assert [problem.line for problem in caught.value.problems] == list(range(1, 101))
    assert str(caught.value).endswith("and 200 more")

"""Manifests: CSV, JSONL and YAML files, one blend a row, read into requests.

Rows are read one at a time, so a manifest of any length fits. A bad row never stops the reading: it becomes a
RowProblem, so that every bad row can be named at once, before anything is paid for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, NoReturn

from jobs.errors import InvalidRequest, ManifestError, RowProblem
from jobs.request import BlendRequest, is_address, is_data_url, is_digest
from jobs.upstreams import check_named
from producer.manifests.rows import Found, csv_fields, json_fields, parse_fields
from producer.manifests.text import is_text, lines_of, open_text
from producer.manifests.yaml_rows import yaml_fields

Reader = Callable[[Path, Iterator[str]], Iterator[tuple[int, Found]]]

READERS: Mapping[str, Reader] = {
    **dict.fromkeys((".csv", ".tsv"), csv_fields),
    **dict.fromkeys((".jsonl", ".ndjson"), json_fields),
    **dict.fromkeys((".yaml", ".yml"), yaml_fields),
}
MAX_PROBLEMS = 100
LINE, BLEND = "line", "blend"
_WHAT_TO_MEND = {
    LINE: ("bad row", "mend the manifest"),
    BLEND: ("impossible blend", "mend the pictures, or take them out"),
}


class Row(NamedTuple):
    """One good row. `line` is where it starts, counted from 1; paths in `request.images` are absolute.

    `take` is 2 and so on for further blends of the same content. `unit` is what `line` counts: the blends of folders
    have no lines.
    """

    line: int
    request: BlendRequest
    take: int = 1
    unit: str = LINE

    def with_images(self, images: tuple[str, ...]) -> Row:
        """The same row, its pictures named otherwise."""
        return self._replace(request=self.request.with_images(images))


def read_manifest(
    path: Path, root: Path | None = None, defaults: Mapping[str, object] | None = None
) -> Iterator[Row | RowProblem]:
    """Read a manifest, row by row, in order. Pictures are named, not opened; relative paths are relative to it.

    Args:
        path: a .csv or .tsv file with a header row, a .jsonl or .ndjson file with one object a line, or a .yaml or .yml
            file with a list of rows (or `defaults` for all of them, and then `jobs`).
        root: when others write the manifest: the folder that it and its pictures must be in. Rows that name pictures by
            absolute paths or by `~` are bad ones; the rest is for `Pictures`, given the same root, to see. None is for
            people at a command line, who may name any file of theirs.
        defaults: fields for the rows that do not have them.

    Raises:
        ManifestError: the file itself is bad; raised when the bad place is reached.
    """
    fields = _reader_for(path)
    earlier: dict[str, tuple[int, bytes]] = {}
    folder = path.absolute().parent
    if not is_text(str(folder)):  # the pictures' paths begin with it, and records and results are UTF-8
        raise ManifestError(f"{str(path.absolute())!r}: the name of a folder in this path is not UTF-8; rename it")
    empty = True
    with open_text(path, root) as file:
        for line, found in fields(path, lines_of(path, file)):
            empty = False
            try:
                request = _with_absolute_paths(parse_fields(found, defaults or {}), folder, root)
                _check_custom_id(request, line, earlier)
            except InvalidRequest as error:
                yield RowProblem(line, str(error))
            else:
                yield Row(line, request)
    if empty:
        raise ManifestError(f"{path}: has no rows; give one row for each blend")


def _reader_for(path: Path) -> Reader:
    if (reader := READERS.get(path.suffix.lower())) is None:
        raise ManifestError(f"{path}: its name must end in {', '.join(READERS)}; save it as one of these")
    return reader


def load_manifest(
    path: Path, check: Callable[[Row], None] | None = None, max_problems: int = MAX_PROBLEMS, root: Path | None = None
) -> list[Row]:
    """Read a whole manifest, or refuse it whole.

    Args:
        path: as for `read_manifest`.
        check: called with every good row; its InvalidRequest makes the row a bad one.
        max_problems: how many bad rows the error names.
        root: as for `read_manifest`.

    Raises:
        ManifestError: the file is bad, or any row is.
    """
    rows = read_manifest(path, root)
    return list(good_rows(str(path), rows if check is None else _checked(rows, check), max_problems))


def good_rows(name: str, rows: Iterable[Row | RowProblem], max_problems: int = MAX_PROBLEMS) -> Iterator[Row]:
    """The good rows, as they come; and at the end an error, when there was any bad one. Holds none of the good ones.

    So whoever goes through all of them before doing anything has done nothing when a row is bad.

    Args:
        name: stands for the manifest in the error's text.
        rows: from `read_manifest` or `Pictures.prepare`.
        max_problems: how many bad rows the error names, the first ones; it counts all.

    Raises:
        ManifestError: after the last row.
    """
    bad: list[RowProblem] = []
    count = 0
    end: ManifestError | None = None
    try:
        for row in rows:
            if isinstance(row, Row):
                yield row
            else:
                count += 1
                if len(bad) < max_problems and _is_news(row, bad):
                    bad.append(row)
    except ManifestError as error:
        if not bad:
            raise
        end = error
    if bad:
        _refuse(name, bad, count, end)


def with_known_upstreams(rows: Iterable[Row | RowProblem], names: Sequence[str]) -> Iterator[Row | RowProblem]:
    """The rows; those that ask for an upstream which is none of these are bad ones (`check_named`)."""
    return _checked(rows, lambda row: check_named(row.request.upstream, names))


def _with_absolute_paths(request: BlendRequest, folder: Path, root: Path | None) -> BlendRequest:
    def absolute(image: str) -> str:
        if is_data_url(image) or is_address(image) or is_digest(image):
            return image
        if root is not None and image.startswith(("/", "~")):
            raise InvalidRequest(f"{image[:200]}: name pictures by paths that are relative to the manifest")
        return _in_folder(folder, image)

    return request.with_images(tuple(map(absolute, request.images)))


@lru_cache(maxsize=10_000)  # a picture is mostly in many rows, and putting a path together takes 5 µs
def _in_folder(folder: Path, image: str) -> str:
    return str(folder / image)


def _check_custom_id(request: BlendRequest, line: int, earlier: dict[str, tuple[int, bytes]]) -> None:
    """One name for two different blends would make one picture overwrite the other. The same row twice is fine."""
    if request.custom_id is None:
        return
    content = hashlib.blake2b(request.model_dump_json().encode(), digest_size=16).digest()
    first_line, first = earlier.setdefault(request.custom_id, (line, content))
    if first != content:
        raise InvalidRequest(f"custom_id {request.custom_id!r} is used on line {first_line} too, for another blend")


def _checked(rows: Iterable[Row | RowProblem], check: Callable[[Row], None]) -> Iterator[Row | RowProblem]:
    for row in rows:
        try:
            if isinstance(row, Row):
                check(row)
        except InvalidRequest as error:
            yield RowProblem(row.line, str(error), row.unit)
        else:
            yield row


def _is_news(row: RowProblem, bad: Sequence[RowProblem]) -> bool:
    """A picture of a folder is in many blends; it is named once."""
    return row.unit == LINE or all(row.problem != other.problem for other in bad)


def _refuse(name: str, bad: Sequence[RowProblem], count: int, end: ManifestError | None) -> NoReturn:
    what, mend = _WHAT_TO_MEND[bad[0].unit]
    lines = [f"{name}: {count} {what}{'s' if count > 1 else ''}; {mend}, nothing was started"]
    lines += map(str, bad)
    if count > len(bad) and bad[0].unit == LINE:
        lines.append(f"and {count - len(bad)} more")
    if end is not None:
        lines.append(f"and then: {end}")
    raise ManifestError("\n  ".join(lines), bad, count) from end

"""The rows of a run as they were enqueued: on the disk, so that none is held, and whatever becomes of the manifest."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Self

from jobs.errors import ManifestError, RowProblem
from jobs.report import source_name
from jobs.request import BlendRequest, is_data_url, is_web_address
from producer.manifests.manifest import Row
from producer.manifests.sources import Source


class Enqueued:
    """Rows with the ids of their jobs, in order. To be used in a `with` block; they are gone with it.

    Args:
        folder: on whose disk they are.
        results: where their blends will be. `sources` has the names of the files there that are blended.
    """

    def __init__(self, folder: Path, results: Path) -> None:
        self.sources: set[str] = set()
        self._results = os.path.realpath(results)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (closed by __exit__)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, row: Row, job_id: str) -> None:
        """
        Args:
            row: as it is told of: see `as_told`.
            job_id: of its job.
        """
        request = row.request.model_dump(mode="json", exclude_defaults=True)
        line = json.dumps([row.line, row.take, row.unit, job_id, request])
        self._file.write(line.encode() + b"\n")
        places = map(os.path.split, row.request.images)
        self.sources.update(name for folder, name in places if _real(folder) == self._results)

    def entries(self) -> Iterator[tuple[Row, str]]:
        """Each row with the id of its job; nothing may be added any more."""
        self._file.seek(0)
        for text in self._file:
            line, take, unit, job_id, request = json.loads(text)
            yield Row(line, BlendRequest.model_validate(request), take, unit), job_id

    def differences(self, source: Source) -> str | None:
        """What has changed in the source since, in words; None when nothing has."""
        if (rows := source.changed()) is None:
            return None
        before = Counter(_content(row) for row, _ in self.entries())
        now: Counter[bytes] = Counter()
        bad = 0
        try:
            for row in rows:
                if isinstance(row, RowProblem):
                    bad += 1
                else:
                    now[_content(as_told(row))] += 1
        except ManifestError as error:
            return f"it cannot be read any more: {error}"
        found = {"new": (now - before).total(), "gone": (before - now).total(), "bad": bad}
        words = ", ".join(f"{count} {what}" for what, count in found.items() if count)
        return f"rows that are others by now: {words}" if words else None


@lru_cache(maxsize=1000)
def _real(folder: str) -> str:
    return os.path.realpath(folder)


def as_told(row: Row) -> Row:
    """The row without what its pictures' names may carry: data, keys. The names of files stay whole, however long."""
    return row.with_images(tuple(map(_told, row.request.images)))


def _told(image: str) -> str:
    return source_name(image) if is_data_url(image) or is_web_address(image) else image


def _content(row: Row) -> bytes:
    """What stands in a row, wherever it stands."""
    text = f"{row.take} {row.request.model_dump_json()}"
    return hashlib.blake2b(text.encode(), digest_size=12).digest()

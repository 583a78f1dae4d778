"""Sources: where the rows of a run come from. They can be gone through again and again, and are never held at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from jobs.errors import ManifestError, RowProblem
from producer.manifests.manifest import Row, read_manifest, with_known_upstreams


class Source(Protocol):
    """Rows, the same ones in the same order each time."""

    @property
    def name(self) -> str:
        """What people call it."""

    def rows(self) -> Iterator[Row | RowProblem]:
        """
        Raises:
            ManifestError: there are no such rows; or they are not those of the last time.
        """

    def changed(self) -> Iterator[Row | RowProblem] | None:
        """The rows as they are by now, where they may be others; None where they are the same."""


class ManifestFile:
    """The rows of a manifest, as long as nobody changes it: what was checked is what is enqueued and told of.

    Args:
        path: as for `read_manifest`.
        defaults: likewise.
    """

    def __init__(self, path: Path, defaults: Mapping[str, object] | None = None) -> None:
        self.name = str(path)
        self._path = path
        self._defaults = defaults
        self._stamp: tuple[int, ...] | None = None

    def rows(self) -> Iterator[Row | RowProblem]:
        self._stamp = self._stamp or _stamp(self._path)
        for row in read_manifest(self._path, defaults=self._defaults):
            self._must_be_the_same()
            yield row
        self._must_be_the_same()

    def changed(self) -> Iterator[Row | RowProblem] | None:
        return None if _stamp(self._path) == self._stamp else read_manifest(self._path, defaults=self._defaults)

    def _must_be_the_same(self) -> None:
        """An editor may write in place, or put another file there; either changes the stamp."""
        if _stamp(self._path) != self._stamp:
            raise ManifestError(
                f"{self._path}: was changed while it was being run; run the same command again: it takes the manifest "
                "as it is then, and pays only for what is missing"
            )


class Addressed:
    """The rows of another source; those that ask for an upstream of none of these names are bad ones."""

    def __init__(self, source: Source, names: Sequence[str]) -> None:
        self.name = source.name
        self._source = source
        self._names = names

    def rows(self) -> Iterator[Row | RowProblem]:
        return with_known_upstreams(self._source.rows(), self._names)

    def changed(self) -> Iterator[Row | RowProblem] | None:
        return self._source.changed()


class Repeated:
    """Each row of another source several times: so many blends of the same content, each paid for."""

    def __init__(self, source: Source, times: int) -> None:
        self.name = source.name
        self._source = source
        self._times = times

    def rows(self) -> Iterator[Row | RowProblem]:
        return self._repeat(self._source.rows())

    def changed(self) -> Iterator[Row | RowProblem] | None:
        rows = self._source.changed()
        return None if rows is None else self._repeat(rows)

    def _repeat(self, rows: Iterator[Row | RowProblem]) -> Iterator[Row | RowProblem]:
        for row in rows:
            if isinstance(row, RowProblem):
                yield row
            else:
                yield from (row._replace(take=take) for take in range(1, self._times + 1))


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None  # reading it tells why
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

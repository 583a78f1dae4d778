"""Manifests: CSV and JSONL files, one blend a row, read into requests.

Rows are read one at a time, so a manifest of any length fits. A bad row never stops the reading: it becomes a
RowProblem, so that every bad row can be named at once, before anything is paid for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from jobs.errors import InvalidRequest, ManifestError, PictureError, RowProblem
from jobs.images import ImageStore, StoredImage
from jobs.request import BlendRequest, is_digest
from producer.rows import lines_of, open_text, parse_fields, reader_for

Put = Callable[[Path], StoredImage]


@dataclass(frozen=True)
class Row:
    """One good row. `line` is where it starts, counted from 1; paths in `request.images` are absolute."""

    line: int
    request: BlendRequest


def read_manifest(path: Path, root: Path | None = None) -> Iterator[Row | RowProblem]:
    """Read a manifest, row by row, in order. Pictures are named, not opened; relative paths are relative to it.

    Args:
        path: a .csv or .tsv file with a header row, or a .jsonl or .ndjson file with one object a line.
        root: when others write the manifest: the folder that its pictures must be in. Rows that name pictures by
            absolute paths or by `~` are bad ones; the rest is for `prepare`, given the same root, to see. None is for
            people at a command line, who may name any file of theirs.

    Raises:
        ManifestError: the file itself is bad; raised when the bad place is reached.
    """
    fields = reader_for(path)
    earlier: dict[str, tuple[int, bytes]] = {}
    folder = path.absolute().parent
    empty = True
    with open_text(path) as file:
        for line, found in fields(path, lines_of(path, file)):
            empty = False
            try:
                request = _with_absolute_paths(parse_fields(found), folder, root)
                _check_custom_id(request, line, earlier)
            except InvalidRequest as error:
                yield RowProblem(line, str(error))
            else:
                yield Row(line, request)
    if empty:
        raise ManifestError(f"{path}: has no rows; give one row for each blend")


def load_manifest(
    path: Path, check: Callable[[Row], None] | None = None, max_problems: int = 100, root: Path | None = None
) -> list[Row]:
    """Read a whole manifest, or refuse it whole.

    Args:
        path: as for `read_manifest`.
        check: called with every good row; its InvalidRequest makes the row a bad one.
        max_problems: how many bad rows the error's text names; its `problems` always holds all of them.
        root: as for `read_manifest`.

    Raises:
        ManifestError: the file is bad, or any row is; names every bad row.
    """
    rows = read_manifest(path, root)
    return all_or_none(path, rows if check is None else _checked(rows, check), max_problems)


def all_or_none(path: Path, rows: Iterable[Row | RowProblem], max_problems: int = 100) -> list[Row]:
    """The rows of a manifest, when all of them are good.

    Raises:
        ManifestError: names every bad row; `path` stands for the manifest in its text.
    """
    good: list[Row] = []
    bad: list[RowProblem] = []
    end: ManifestError | None = None
    try:
        for row in rows:
            if isinstance(row, RowProblem):
                bad.append(row)
            else:
                good.append(row)
    except ManifestError as error:
        if not bad:
            raise
        end = error
    if bad:
        _refuse(path, bad, max_problems, end)
    return good


def prepare(
    rows: Iterable[Row | RowProblem], images: ImageStore, root: Path | None = None
) -> Iterator[Row | RowProblem]:
    """Store the pictures of each row, and name them by digest. Problems in `rows` pass through, in their places.

    A path is read once, however many rows name it: the whole run sees the file as it was then.

    Args:
        rows: from `read_manifest`.
        images: where they are kept.
        root: the folder that every file must be in at the moment when it is read, links followed; None for anywhere.

    Raises:
        OSError: the image store's disk failed.
    """
    known: dict[str, str | PictureError] = {}
    put = partial(images.put_file, root=root)
    for row in rows:
        yield row if isinstance(row, RowProblem) else _prepared(row, images, put, known)


def _prepared(row: Row, images: ImageStore, put: Put, known: dict[str, str | PictureError]) -> Row | RowProblem:
    stored = [_store(image, number, images, put, known) for number, image in enumerate(row.request.images, 1)]
    digests = tuple(item for item in stored if isinstance(item, str))
    if len(digests) == len(stored):
        return Row(row.line, row.request.with_images(digests))
    problems = dict.fromkeys(str(item) for item in stored if isinstance(item, PictureError))
    return RowProblem(row.line, "; ".join(problems))


def _store(
    image: str, number: int, images: ImageStore, put: Put, known: dict[str, str | PictureError]
) -> str | PictureError:
    """The digest of a stored picture, or why there is none. Data URLs are not remembered: they are too large."""
    try:
        if _is_data_url(image):
            return images.put_data_url(image, name=f"image {number}").digest
        if image not in known:
            known[image] = _digest(image, images, put)
    except PictureError as error:
        if _is_data_url(image):
            return error
        # Kept for every row of a long manifest: its traceback would keep the picture's bytes alive with it.
        known[image] = PictureError(str(error))
    return known[image]


def _digest(image: str, images: ImageStore, put: Put) -> str:
    if is_digest(image):
        if images.find(image) is None:
            raise PictureError(f"{image}: is not in the image store; put the picture there first, or give its file")
        return image
    if _is_web_address(image):
        raise PictureError(f"{image[:200]}: web addresses are not fetched; download the picture and give its path")
    return put(Path(image)).digest


def _is_data_url(image: str) -> bool:
    return image[:5].lower() == "data:"


def _is_web_address(image: str) -> bool:
    return image[:8].lower().startswith(("http://", "https://"))


def _with_absolute_paths(request: BlendRequest, folder: Path, root: Path | None) -> BlendRequest:
    def absolute(image: str) -> str:
        if _is_data_url(image) or _is_web_address(image) or is_digest(image):
            return image
        if root is not None and image.startswith(("/", "~")):
            raise InvalidRequest(f"{image[:200]}: name pictures by paths that are relative to the manifest")
        return str(folder / image)

    return request.with_images(tuple(map(absolute, request.images)))


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
            yield RowProblem(row.line, str(error))
        else:
            yield row


def _refuse(path: Path, bad: Sequence[RowProblem], max_problems: int, end: ManifestError | None) -> NoReturn:
    lines = [f"{path}: {len(bad)} bad row{'s' if len(bad) > 1 else ''}; mend the manifest, nothing was started"]
    lines += [str(problem) for problem in bad[:max_problems]]
    if len(bad) > max_problems:
        lines.append(f"and {len(bad) - max_problems} more")
    if end is not None:
        lines.append(f"and then: {end}")
    raise ManifestError("\n  ".join(lines), bad) from end

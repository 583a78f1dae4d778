"""Manifests: CSV and JSONL files, one blend a row, read into requests.

Rows are read one at a time, so a manifest of any length fits. A bad row never stops the reading: it becomes a
RowProblem, so that every bad row can be named at once, before anything is paid for.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from pydantic import AliasChoices

from jobs.errors import InvalidRequest, ManifestError, PictureError, RowProblem
from jobs.images import ImageStore
from jobs.request import MAX_IMAGES, BlendRequest, is_digest

MAX_LINE_CHARACTERS = 64 << 20  # a line may carry five pictures as data URLs
_CSV, _JSONL = (".csv", ".tsv"), (".jsonl", ".ndjson")
_PICTURE_COLUMNS = tuple(f"image{number}" for number in range(1, MAX_IMAGES + 1))
# Where several pictures share a cell: `|`, else `;`, but not the one inside a data URL.
_IMAGE_SEPARATOR = re.compile(r";(?!base64,)")


def _spellings() -> dict[str, str]:
    """Every name that BlendRequest takes, with the field it means."""
    names: dict[str, str] = {}
    for field, info in BlendRequest.model_fields.items():
        alias = info.validation_alias
        spelled = alias.choices if isinstance(alias, AliasChoices) else [field]
        names |= dict.fromkeys((name for name in spelled if isinstance(name, str)), field)
    return names


_FIELDS = _spellings()


@dataclass(frozen=True)
class Row:
    """One good row. `line` is where it starts, counted from 1; paths in `request.images` are absolute."""

    line: int
    request: BlendRequest


def read_manifest(path: Path) -> Iterator[Row | RowProblem]:
    """Read a manifest, row by row, in order. Pictures are named, not opened; relative paths are relative to it.

    Args:
        path: a .csv or .tsv file with a header row, or a .jsonl or .ndjson file with one object a line.

    Raises:
        ManifestError: the file itself is bad; raised when the bad place is reached.
    """
    fields = _reader_for(path)
    earlier: dict[str, tuple[int, bytes]] = {}
    folder = path.absolute().parent
    empty = True
    with _open_text(path) as file:
        for line, found in fields(path, _lines(path, file)):
            empty = False
            try:
                request = _with_absolute_paths(_parse(found), folder)
                _check_custom_id(request, line, earlier)
            except InvalidRequest as error:
                yield RowProblem(line, str(error))
            else:
                yield Row(line, request)
    if empty:
        raise ManifestError(f"{path}: has no rows; give one row for each blend")


def load_manifest(path: Path, check: Callable[[Row], None] | None = None, max_problems: int = 100) -> list[Row]:
    """Read a whole manifest, or refuse it whole.

    Args:
        path: as for `read_manifest`.
        check: called with every good row; its InvalidRequest makes the row a bad one.
        max_problems: how many bad rows the error's text names; its `problems` always holds all of them.

    Raises:
        ManifestError: the file is bad, or any row is; names every bad row.
    """
    rows = read_manifest(path)
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


def prepare(rows: Iterable[Row | RowProblem], images: ImageStore) -> Iterator[Row | RowProblem]:
    """Store the pictures of each row, and name them by digest. Problems in `rows` pass through, in their places.

    A path is read once, however many rows name it: the whole run sees the file as it was then.

    Raises:
        OSError: the image store's disk failed.
    """
    known: dict[str, str | PictureError] = {}
    for row in rows:
        yield row if isinstance(row, RowProblem) else _prepared(row, images, known)


def _prepared(row: Row, images: ImageStore, known: dict[str, str | PictureError]) -> Row | RowProblem:
    stored = [_store(image, number, images, known) for number, image in enumerate(row.request.images, 1)]
    digests = tuple(item for item in stored if isinstance(item, str))
    if len(digests) == len(stored):
        return Row(row.line, row.request.with_images(digests))
    problems = dict.fromkeys(str(item) for item in stored if isinstance(item, PictureError))
    return RowProblem(row.line, "; ".join(problems))


def _store(image: str, number: int, images: ImageStore, known: dict[str, str | PictureError]) -> str | PictureError:
    """The digest of a stored picture, or why there is none. Data URLs are not remembered: they are too large."""
    try:
        if _is_data_url(image):
            return images.put_data_url(image, name=f"image {number}").digest
        if image not in known:
            known[image] = _digest(image, images)
    except PictureError as error:
        if _is_data_url(image):
            return error
        # Kept for every row of a long manifest: its traceback would keep the picture's bytes alive with it.
        known[image] = PictureError(str(error))
    return known[image]


def _digest(image: str, images: ImageStore) -> str:
    if is_digest(image):
        if images.find(image) is None:
            raise PictureError(f"{image}: is not in the image store; give the picture's file")
        return image
    if _is_web_address(image):
        raise PictureError(f"{image[:200]}: web addresses are not fetched; download the picture and give its path")
    return images.put_file(Path(image)).digest


def _is_data_url(image: str) -> bool:
    return image[:5].lower() == "data:"


def _is_web_address(image: str) -> bool:
    return image[:8].lower().startswith(("http://", "https://"))


def _with_absolute_paths(request: BlendRequest, folder: Path) -> BlendRequest:
    def absolute(image: str) -> str:
        named_otherwise = _is_data_url(image) or _is_web_address(image) or is_digest(image)
        return image if named_otherwise else str(folder / image)

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


# --- from a file to the fields of each row ------------------------------------------------------------------------

Found = Mapping[str, object] | InvalidRequest
"""The fields of a row as they are written; or why they cannot be read."""


def _parse(found: Found) -> BlendRequest:
    """The request, or everything that is wrong with the row, in one line."""
    if isinstance(found, InvalidRequest):
        raise found
    problems = [f"unknown field {_shown(name)}{_hint(name)}" for name in found if name not in _FIELDS]
    request = None
    try:
        request = BlendRequest.parse({name: value for name, value in found.items() if name in _FIELDS})
    except InvalidRequest as error:
        problems.append(str(error))
    if request is None or problems:
        raise InvalidRequest("; ".join(problems))
    return request


def _shown(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:60]}…")


def _hint(name: str, known: Iterable[str] = _FIELDS) -> str:
    close = difflib.get_close_matches(name[:60], list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _reader_for(path: Path) -> Callable[[Path, Iterator[str]], Iterator[tuple[int, Found]]]:
    suffix = path.suffix.lower()
    if suffix in _CSV:
        return _csv_fields
    if suffix in _JSONL:
        return _json_fields
    raise ManifestError(f"{path}: its name must end in {', '.join(_CSV + _JSONL)}; save it as one of these")


def _open_text(path: Path) -> IO[str]:
    try:
        # newline="": line ends are left as they are, for csv; utf-8-sig: spreadsheets start a file with a mark.
        return path.open(encoding="utf-8-sig", newline="")
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: no such file; check the name") from error
    except IsADirectoryError as error:
        raise ManifestError(f"{path}: is a folder; give the manifest in it") from error
    except PermissionError as error:
        raise ManifestError(f"{path}: may not be read; allow this user to read it") from error
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path}: cannot be opened ({error}); check the name") from error


def _lines(path: Path, file: IO[str]) -> Iterator[str]:
    """The file's lines with their ends, each at most MAX_LINE_CHARACTERS long."""
    number = 0
    try:
        while line := file.readline(MAX_LINE_CHARACTERS + 1):
            number += 1
            if len(line) > MAX_LINE_CHARACTERS:
                limit = f"the limit of {MAX_LINE_CHARACTERS:,} characters"
                raise ManifestError(f"{path}: line {number} is over {limit}; name picture files, not their data")
            if "\0" in line:
                raise ManifestError(f"{path}: is not a text file (line {number}); save it as UTF-8 text")
            yield line
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: is not UTF-8 text (after line {number}); save it as UTF-8") from error
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror}); check the file") from error


def _json_fields(_path: Path, lines: Iterator[str]) -> Iterator[tuple[int, Found]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, _json_object(line.rstrip(), "the row")
            except InvalidRequest as error:
                yield number, error


def _json_object(text: str, what: str) -> dict[str, object]:
    try:
        value = json.loads(text, parse_constant=_finite, parse_float=_finite)
        if "\\u" in text:  # half of a surrogate pair is text that cannot be written again
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"{what} is not JSON: {error.msg} at column {error.colno}") from error
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{what} has half a character (a lone \\ud800 to \\udfff)") from error
    except RecursionError as error:
        raise InvalidRequest(f"{what} is nested too deeply") from error
    except ValueError as error:
        raise InvalidRequest(f"{what} has a number that JSON cannot keep (NaN, or too large)") from error
    if not isinstance(value, dict):
        raise InvalidRequest(f"{what} must be a JSON object: {{…}}")
    return value


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError("not finite")
    return value


def _csv_fields(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, Found]]:
    header = next(lines, "")
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_CHARACTERS))  # the default is 128 KiB
    rows = _csv_rows(_put_back(header, lines), max(",;\t", key=header.count))
    _, names = next(rows, (1, []))
    if isinstance(names, InvalidRequest):
        raise ManifestError(f"{path}: its header: {names}")
    columns = _columns(path, names)
    for number, cells in rows:
        if isinstance(cells, InvalidRequest):
            yield number, cells
        elif any(cell.strip() for cell in cells):
            yield number, _cells_to_fields(columns, cells)


def _put_back(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _csv_rows(lines: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str] | InvalidRequest]]:
    """Each row with the line it starts on; a quoted cell may span several."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            yield start, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            text = "a quote that opens here is never closed" if "end of data" in str(error) else str(error)
            yield start, InvalidRequest(f"is not CSV: {text}")


def _columns(path: Path, names: Sequence[str]) -> list[str]:
    """What each column is: a picture column's own name, or the field of BlendRequest that it fills."""
    names = [name.strip() for name in names]
    while names and not names[-1]:  # spreadsheets leave these
        names.pop()
    known = (*_PICTURE_COLUMNS, *_FIELDS)
    columns = [name if name in _PICTURE_COLUMNS else _FIELDS.get(name, "") for name in names]
    for name, column in zip(names, columns, strict=True):
        if not column:
            fault = f"unknown column {_shown(name)}{_hint(name, known)}; known are {', '.join(known)}"
            raise ManifestError(f"{path}: {fault}")
        if columns.count(column) > 1:
            raise ManifestError(f"{path}: the column {column} is given twice; keep one of them")
    if "images" in columns and set(columns) & set(_PICTURE_COLUMNS):
        raise ManifestError(f"{path}: has both images and image1 …; keep one kind of column for the pictures")
    if "images" not in columns and not set(columns) & set(_PICTURE_COLUMNS):
        raise ManifestError(f"{path}: has no picture columns; add image1 and image2, or images (a.png|b.png)")
    return columns


def _cells_to_fields(columns: Sequence[str], cells: Sequence[str]) -> Found:
    if any(cell.strip() for cell in cells[len(columns) :]):
        return InvalidRequest(f"has {len(cells)} cells, but the header has {len(columns)}; quote a cell with commas")
    fields: dict[str, object] = {}
    pictures: list[str] = []
    for column, cell in zip(columns, cells, strict=False):
        text = cell if column == "state" else cell.strip()
        if column in _PICTURE_COLUMNS:
            pictures += [text] if text else []
        elif column == "images":
            pictures += [name.strip() for name in _split_images(text) if name.strip()]
        elif column == "modes" and text:
            fields["modes"] = text.replace("|", " ").split()
        elif column == "metadata" and text:
            try:
                fields["metadata"] = _json_object(text, "metadata")
            except InvalidRequest as error:
                return error
        elif text:
            fields[column] = text
    return fields | {"images": pictures}


def _split_images(cell: str) -> list[str]:
    return cell.split("|") if "|" in cell else _IMAGE_SEPARATOR.split(cell)

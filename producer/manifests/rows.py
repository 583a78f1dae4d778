"""Rows: from a manifest's text to the fields of each row, CSV or JSONL; and what may be wrong with them."""

from __future__ import annotations

import csv
import difflib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import AliasChoices

from jobs.errors import InvalidRequest, ManifestError
from jobs.request import MAX_IMAGES, BlendRequest
from producer.manifests.text import MAX_LINE_CHARACTERS

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


Found = Mapping[str, object] | InvalidRequest
"""The fields of a row as they are written; or why they cannot be read."""


def parse_fields(found: Found, defaults: Mapping[str, object]) -> BlendRequest:
    """The request, or everything that is wrong with the row, in one line. `defaults` are for fields it does not have.

    Raises:
        InvalidRequest: says what is wrong.
    """
    if isinstance(found, InvalidRequest):
        raise found
    problems = _unknown(found)
    request = None
    try:
        request = BlendRequest.parse(with_defaults({name: found[name] for name in found if name in _FIELDS}, defaults))
    except InvalidRequest as error:
        problems.append(str(error))
    if request is None or problems:
        raise InvalidRequest("; ".join(problems))
    return request


def with_defaults(found: Mapping[str, object], defaults: Mapping[str, object]) -> dict[str, object]:
    """The fields, and the defaults for those that are not there under any of their names."""
    given = {_FIELDS.get(name) for name in found}
    return {name: value for name, value in defaults.items() if _FIELDS.get(name) not in given} | dict(found)


def check_names(fields: Iterable[str]) -> None:
    """
    Raises:
        InvalidRequest: one is no field of a request.
    """
    if problems := _unknown(fields):
        raise InvalidRequest("; ".join(problems))


def _unknown(fields: Iterable[str]) -> list[str]:
    return [f"unknown field {_shown(name)}{_hint(name)}" for name in fields if name not in _FIELDS]


def _shown(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:60]}…")


def _hint(name: str, known: Iterable[str] = _FIELDS) -> str:
    close = difflib.get_close_matches(name[:60], list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def json_fields(_path: Path, lines: Iterator[str]) -> Iterator[tuple[int, Found]]:
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


def csv_fields(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, Found]]:
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
    if not names:
        raise ManifestError(f"{path}: is empty; begin with a header row, such as custom_id,image1,image2")
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
        elif column in ("modes", "then") and text:
            fields[column] = text.replace("|", " ").split()
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

"""Reading what other people's servers write: JSON of any shape, numbers in any dress, words that may hold anything."""

from __future__ import annotations

import json
import re
from itertools import islice

MAX_WORDS_CHARACTERS = 500
MAX_TASK_ID_CHARACTERS = 200

# Above this a float no longer holds every whole number, so an id that came as one may be another task's.
_MAX_EXACT_FLOAT = 2.0**53
_MAX_READ_CHARACTERS = 20_000
_WHOLE = re.compile(r"[0-9]{1,19}")
_DATA_URL = re.compile(r"data:(?:[^\s,]{0,200},\s?|image)[^\s\"'<>]*", re.IGNORECASE)
# Long enough to spare UUIDs, task ids and the servers' own error names; short enough for the proof in a hook's address.
_BASE64_RUN = re.compile(r"[A-Za-z0-9+/_-]{40,}(?: [A-Za-z0-9+/_-]+(?==))?={0,2}")
# What most gateways' keys look like: a callback may repeat one to a receiver, which does not know it.
_GATEWAY_KEY = re.compile(r"\bsk-[A-Za-z0-9_+/=%-]{8,}")
# Control characters other than line ends and colours, and what stands for bytes that are no text.
_ODD = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f\ufffd]")
# Words have few of them; a picture's bytes have many.
_MAX_ODD_CHARACTERS = 8


def parse_json(body: bytes) -> object:
    """The JSON value in `body`.

    Raises:
        ValueError: it is not JSON, or nested or long beyond what can be read safely.
    """
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def clean(text: object) -> str:
    """Foreign words, made fit for a record, a log line or a page.

    At most 500 characters on one line, without control or invisible characters, and with every data URL, every
    long run of base64 and all raw bytes taken out: some servers repeat the request in their error. Anything but text
    gives "".
    """
    if not isinstance(text, str):
        return ""
    text = _without_bytes(text[:_MAX_READ_CHARACTERS])
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = _BASE64_RUN.sub("[data]", _DATA_URL.sub("[data]", line))
    line = _GATEWAY_KEY.sub("[key]", line)
    return line if len(line) <= MAX_WORDS_CHARACTERS else line[: MAX_WORDS_CHARACTERS - 1] + "…"


def _without_bytes(text: str) -> str:
    """The words before the first of many bytes that are no text."""
    odd = [match.start() for match in islice(_ODD.finditer(text), _MAX_ODD_CHARACTERS + 1)]
    return f"{text[: odd[0]]} [data]" if len(odd) > _MAX_ODD_CHARACTERS else text


def whole_number(value: object) -> int | None:
    """A whole number that came as an int, an int-valued float or a string of digits; never negative."""
    if isinstance(value, str):
        return int(value) if _WHOLE.fullmatch(value.strip()) else None
    if isinstance(value, float):
        return int(value) if 0 <= value <= _MAX_EXACT_FLOAT and value.is_integer() else None
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value >= 0 else None
    return None


def seed(value: object) -> str | None:
    """A picture's seed: a whole number, as digits."""
    number = whole_number(value)
    return None if number is None else str(number)


def task_id(value: object) -> str | None:
    """A task id: 1 to 200 printable characters.

    The reference page of submit/blend types `result` as a string and shows a bare integer; both occur.
    """
    if not isinstance(value, str):
        number = whole_number(value)
        # Ids of more digits than Python prints (4,300) are no ids either.
        value = str(number) if number and number < 10**MAX_TASK_ID_CHARACTERS else ""
    value = value.strip()
    return value if value.isprintable() and 0 < len(value) <= MAX_TASK_ID_CHARACTERS else None

"""An answer as it came, and the part of it that counts, read without trusting any of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from worker.proxy.wire import clean, parse_json

MAX_RETRY_AFTER_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An HTTP answer as it came.

    `truncated`: the body was cut, over the size cap, or packed in a way that was not asked for.
    `received_at`: aware UTC; only used to read a Retry-After date when the answer has no Date of its own.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool = False
    received_at: datetime | None = None

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers.items() if key.lower() == name), None)


@dataclass(frozen=True, slots=True)
class Reply:
    """The part of an answer's JSON that counts. `said` is the raw description, for comparing; `words` is clean."""

    code: int | None = None
    said: str = ""
    words: str = ""
    result: object = None
    properties: Mapping[str, Any] = field(default_factory=dict)


def read_reply(answer: RawAnswer) -> Reply:
    """The answer's JSON, as far as it is one; else only its words (a page's title, or its first line). Never raises."""
    try:
        data = parse_json(answer.body)
    except ValueError:
        return Reply(words=_page_words(answer.body))
    if not isinstance(data, dict):
        return Reply(words=clean(data))
    said = _said(data)
    properties = data.get("properties")
    return Reply(
        code=_code(data.get("code")),
        said=said,
        words=clean(said),
        result=data.get("result"),
        properties=properties if isinstance(properties, dict) else {},
    )


def _code(value: object) -> int | None:
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"-?[0-9]{1,9}", value) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9 else None


def _said(data: Mapping[str, Any]) -> str:
    error = data.get("error")
    nested = error.get("message") if isinstance(error, dict) else error
    return next(
        (text for text in (data.get("description"), nested, data.get("message")) if text and isinstance(text, str)), ""
    )


def _page_words(body: bytes) -> str:
    text = body[:20_000].decode("utf-8", errors="replace")
    title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
    return clean(title[1] if title else re.sub(r"<[^>]*>", " ", text))


def retry_after_seconds(answer: RawAnswer) -> float | None:
    """What the answer's Retry-After asks for (RFC 9110, 10.2.3), 0 to 3600 seconds; None when it says nothing usable.

    A date is measured against the answer's own Date, so that the two clocks need not agree.
    """
    value = (answer.header("retry-after") or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return min(float(value), MAX_RETRY_AFTER_SECONDS)
    until, now = _date(value), _date(answer.header("date") or "") or answer.received_at
    if until is None or now is None:
        return None
    return min(max((until - now).total_seconds(), 0.0), MAX_RETRY_AFTER_SECONDS)


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None

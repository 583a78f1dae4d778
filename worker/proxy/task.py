"""The API's task JSON, as `fetch`, the lists and the callbacks carry it. Pure.

Unknown fields are ignored and unknown statuses kept as UNKNOWN: the families of servers differ, and each adds its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from jobs.attempt import TaskStatus
from worker.proxy.wire import clean, seed, task_id, whole_number

MAX_URL_CHARACTERS = 4096
MAX_STATE_CHARACTERS = 1000
MAX_BUTTONS = 50
MAX_CUSTOM_ID_CHARACTERS = 1000

_PERCENT = re.compile(r"\s*([0-9]{1,3})(?:\.[0-9]+)?\s*%?\s*")
# Times outside are no times of a task: seconds taken for milliseconds, -1, the year 9999.
_FIRST_MS, _LAST_MS = 1_420_070_400_000, 4_102_444_800_000  # 2015 to 2100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FailureClass(StrEnum):
    """Why a task failed at the API, as far as its words tell."""

    TIMEOUT = "timeout"
    MODERATED = "moderated"
    SUBSCRIPTION = "subscription"
    QUEUE_FULL = "queue_full"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Button:
    """Something that can be done with a finished task; `custom_id` is what `POST /mj/submit/action` takes."""

    custom_id: str
    label: str
    emoji: str


@dataclass(frozen=True, slots=True)
class TaskView:
    """What a task's JSON says. `progress` is a percentage; times are aware UTC; absent or absurd values are None."""

    task_id: str
    status: TaskStatus
    progress: int | None = None
    image_url: str | None = None
    fail_reason: str | None = None
    state: str | None = None
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    buttons: tuple[Button, ...] = ()
    seed: str | None = None


# First match wins. The timeout is the servers' own, of 5 minutes: the picture may still appear later.
_FAILURE_WORDS = (
    (FailureClass.TIMEOUT, ("任务超时", "timeout", "timed out")),
    (FailureClass.QUEUE_FULL, ("队列已满", "queue full", "queue is full")),
    (FailureClass.SUBSCRIPTION, ("subscription",)),
    (FailureClass.MODERATED, ("banned", "blocked", "moderat", "敏感", "违规", "违禁")),
)


def parse_task(data: object) -> TaskView | None:
    """The task in a decoded JSON value; None when it is none: not an object, or without a usable id. Never raises."""
    if not isinstance(data, dict) or (name := task_id(data.get("id"))) is None:
        return None
    return TaskView(
        task_id=name,
        status=_status(data.get("status")),
        progress=_progress(data.get("progress")),
        image_url=_image_url(data),
        fail_reason=clean(data.get("failReason")) or None,
        state=_state(data.get("state")),
        submitted_at=_time(data.get("submitTime")),
        started_at=_time(data.get("startTime")),
        finished_at=_time(data.get("finishTime")),
        buttons=_buttons(data.get("buttons")),
        seed=seed(data.get("seed")),
    )


def classify_failure(fail_reason: str | None) -> FailureClass:
    """The class of a failed task's reason; `failed` when its words are unknown or missing."""
    if not fail_reason:
        return FailureClass.FAILED
    words = fail_reason.lower()
    return next((kind for kind, needles in _FAILURE_WORDS if any(n in words for n in needles)), FailureClass.FAILED)


def _status(value: object) -> TaskStatus:
    try:
        return TaskStatus(value)  # type: ignore[arg-type]  # anything at all may stand here
    except ValueError:
        return TaskStatus.UNKNOWN


def _progress(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if not isinstance(value, str):
        return int(value) if 0 <= value <= 100 else None
    match = _PERCENT.fullmatch(value)
    return int(match[1]) if match and int(match[1]) <= 100 else None


def _image_url(data: Mapping[str, Any]) -> str | None:
    """`imageUrl`; where it is empty, the first of the community servers' `imageUrls`."""
    if url := _http_url(data.get("imageUrl")):
        return url
    several = data.get("imageUrls")
    first = several[0] if isinstance(several, list) and several else None
    return _http_url(first.get("url")) if isinstance(first, dict) else None


def _http_url(value: object) -> str | None:
    if not isinstance(value, str) or not value.isprintable() or len(value) > MAX_URL_CHARACTERS:
        return None
    try:
        parts = urlsplit(value.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:  # a port that is no number, a broken IPv6 address
        return None
    return value.strip() if usable else None


def _state(value: object) -> str | None:
    """As it was sent, for matching: not cleaned, only kept from growing without bound."""
    return value[:MAX_STATE_CHARACTERS] if isinstance(value, str) and value else None


def _buttons(value: object) -> tuple[Button, ...]:
    """Those that can be pressed; a link, for example, has no `customId`."""
    rows = [row for row in value[:MAX_BUTTONS] if isinstance(row, dict)] if isinstance(value, list) else []
    return tuple(
        Button(custom_id, clean(row.get("label")), clean(row.get("emoji")))
        for row in rows
        if isinstance(custom_id := row.get("customId"), str) and 0 < len(custom_id) <= MAX_CUSTOM_ID_CHARACTERS
    )


def _time(value: object) -> datetime | None:
    ms = whole_number(value)
    return _EPOCH + timedelta(milliseconds=ms) if ms is not None and _FIRST_MS <= ms <= _LAST_MS else None

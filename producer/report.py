"""What is told about a job, as JSON: snake_case, RFC 3339 times in UTC, the API's own words only under `upstream`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from jobs.history import HistoryEntry
from jobs.job import Attempt, Job, Reason, Status
from jobs.request import BlendRequest

MAX_SOURCE_CHARACTERS = 300
_HIDDEN = "***"
_SECRET_NAME = re.compile(r"key|token|secret|auth|passw", re.IGNORECASE)


def rfc3339(moment: datetime | None) -> str | None:
    """A time as text, in UTC, to the millisecond: `2030-01-31T12:00:00.000Z`."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def source_name(image: str) -> str:
    """A picture as it was given; of a data URL only its type and length, never its data (I8)."""
    if image[:5].lower() == "data:":
        return f"{image.partition(',')[0][:60]},… ({len(image)} characters)"
    return image if len(image) <= MAX_SOURCE_CHARACTERS else image[:MAX_SOURCE_CHARACTERS] + "…"


def shown_link(link: str | None) -> str | None:
    """A link of the API's, without the passwords and keys that it may carry (I8); blendq itself keeps it whole."""
    if link is None:
        return None
    try:
        parts = urlsplit(link)
    except ValueError:
        return _HIDDEN
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(_shown_parameter(one) for one in parts.query.split("&"))
    return urlunsplit((parts.scheme, host, parts.path, query, ""))


def _shown_parameter(parameter: str) -> str:
    name = parameter.partition("=")[0]
    return f"{name}={_HIDDEN}" if _SECRET_NAME.search(unquote(name)) else parameter


def result(job: Job, asked: BlendRequest, picture: str | None) -> dict[str, Any]:
    """One line of `results.jsonl`.

    Args:
        job: the record.
        asked: the request as the manifest has it; its labels count, since two rows may share one job.
        picture: the file with the blend, relative to the folder of results.
    """
    return {
        "id": job.id,
        "custom_id": asked.custom_id,
        "campaign": job.campaign,
        "status": job.status,
        "picture": picture,
        "images": [source_name(image) for image in asked.images],
        "dimensions": job.request.dimensions,
        "bot_type": job.request.bot_type,
        "submissions": job.submissions,
        "resubmissions": job.resubmissions,
        "queued_answers": job.queued_answers,
        "created_at": rfc3339(job.created_at),
        "finished_at": rfc3339(job.finished_at),
        "reason": _reason(job.reason),
        "metadata": asked.metadata,
        "state": asked.state,
        "upstream": _upstream(job.attempt, ("task_id", "code", "description", "image_url")),
    }


def whole_record(job: Job, history: Sequence[HistoryEntry]) -> dict[str, Any]:
    """Everything that is known of a job."""
    request = job.request.model_dump(mode="json")
    request["images"] = [source_name(image) for image in job.request.images]
    return {
        "id": job.id,
        "object": "job",
        "status": job.status,
        "campaign": job.campaign,
        "custom_id": job.request.custom_id,
        "request": request,
        "reason": _reason(job.reason),
        "next_step": next_step(job),
        "picture": job.picture.model_dump(mode="json", exclude={"url"}) if job.picture else None,
        "submissions": job.submissions,
        "resubmissions": job.resubmissions,
        "queued_answers": job.queued_answers,
        "backoffs": job.backoffs,
        "cancel_requested": job.cancel_requested,
        "created_at": rfc3339(job.created_at),
        "due_at": rfc3339(job.due_at),
        "finished_at": rfc3339(job.finished_at),
        "current_attempt": job.current or None,
        "attempts": [_attempt(attempt) for attempt in job.attempts],
        "history": [_entry(entry) for entry in history],
    }


def next_step(job: Job) -> str | None:
    """What a person can do about a job that has no picture; None when there is nothing to be done."""
    retry = f"`blendq job retry {job.id}`"
    match job.status:
        case Status.SUCCEEDED:
            return None
        case Status.CANCELLED:
            return f"{retry} if it is wanted after all"
        case Status.PARKED:
            return f"look for it at the API, for it may have been paid for; {retry} submits it again and may pay again"
        case Status.FAILED:
            return _after_failure(job, retry)
        case _:
            return "not finished: it goes on while `blendq run` or `blendq up` works on it"


def _after_failure(job: Job, retry: str) -> str:
    match job.reason.kind if job.reason else "":
        case "moderated":
            return "the API refuses what these pictures show; use others"
        case "invalid":
            return "the API does not take this request; correct it by the reason given, and enqueue it anew"
        case _:
            return f"{retry} submits it again"


def _reason(reason: Reason | None) -> dict[str, str] | None:
    return None if reason is None else {"kind": reason.kind, "message": reason.message}


def _upstream(attempt: Attempt | None, fields: Sequence[str]) -> dict[str, Any] | None:
    if attempt is None:
        return None
    shown = {name: getattr(attempt, name) for name in fields}
    return shown | {"image_url": shown_link(attempt.image_url)}


def _attempt(attempt: Attempt) -> dict[str, Any]:
    """The API's answer to it and its task stand under `upstream`; the rest is our own bookkeeping."""
    return {
        "number": attempt.number,
        "worker": attempt.worker,
        "claimed_at": rfc3339(attempt.claimed_at),
        "committed_at": rfc3339(attempt.committed_at),
        "answered_at": rfc3339(attempt.answered_at),
        "seen_at": rfc3339(attempt.seen_at),
        "taken": attempt.taken,
        "refused": attempt.refused,
        "gone": attempt.gone,
        "withdrawn": attempt.withdrawn,
        "absences": attempt.absences,
        "upstream": {
            "status": attempt.seen,
            **(_upstream(attempt, ("task_id", "code", "description", "position", "progress", "image_url")) or {}),
        },
    }


def _entry(entry: HistoryEntry) -> dict[str, Any]:
    return {
        "at": rfc3339(entry.at),
        "event": entry.event,
        "before": entry.before,
        "after": entry.after,
        "detail": entry.detail,
    }

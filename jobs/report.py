"""What is told about a job, as JSON: snake_case, RFC 3339 times in UTC, the API's own words only under `upstream`.

The part that several tell alike: the files of results, the webhooks, the command line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from jobs.attempt import Attempt
from jobs.job import Job, Picture, Reason
from jobs.request import BlendRequest, is_data_url, is_web_address

MAX_SOURCE_CHARACTERS = 300
_HIDDEN = "***"
_SECRET_NAME = re.compile(r"key|token|secret|auth|passw", re.IGNORECASE)


def rfc3339(moment: datetime | None) -> str | None:
    """A time as text, in UTC, to the millisecond: `2030-01-31T12:00:00.000Z`."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def source_name(image: str) -> str:
    """A picture as it was given; without a data URL's data, or a link's keys (I8). Of a name that it made, the same."""
    if is_data_url(image):
        if ",\u2026 (" in image[:70]:
            return image
        return f"{image.partition(',')[0][:60]},… ({len(image)} characters)"
    image = shown_link(image) or image if is_web_address(image) else image
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


def result(job: Job, asked: BlendRequest, picture: object) -> dict[str, Any]:
    """What became of a job: one line of `results.jsonl`, or the data of a webhook.

    Args:
        job: the record.
        asked: the request as the manifest has it; its labels count, since two rows may share one job.
        picture: the file with the blend, relative to the folder of results; or what else tells of it.
    """
    return {
        "id": job.id,
        "custom_id": asked.custom_id,
        "campaign": job.campaign,
        **parent_json(job),
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
        "reused_from": job.reused_from,
        "reason": reason_json(job.reason),
        "seed": job.seed,
        "metadata": asked.metadata,
        "state": asked.state,
        "upstream": upstream_json(job, job.attempt, ("task_id", "code", "description", "image_url")),
    }


def parent_json(job: Job) -> dict[str, Any]:
    """What a follow-up is of; nothing for a blend."""
    follows = job.follows
    return {"parent_id": follows and follows.job_id, "action": follows and follows.action}


def picture_json(picture: Picture | None) -> dict[str, Any] | None:
    """A finished picture, without the link that it came from."""
    return None if picture is None else picture.model_dump(mode="json", exclude={"url"})


def reason_json(reason: Reason | None) -> dict[str, str] | None:
    return None if reason is None else {"kind": reason.kind, "message": reason.message}


def upstream_json(job: Job, attempt: Attempt | None, fields: Sequence[str]) -> dict[str, Any] | None:
    """What an API said to an attempt; `name` says which."""
    if attempt is None:
        return None
    shown = {"name": job.upstream_of(attempt.number)} | {name: getattr(attempt, name) for name in fields}
    return shown | {"image_url": shown_link(attempt.image_url)}

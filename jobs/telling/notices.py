"""Notices: what the producer's own webhooks are told, and under which stable name. Pure.

A notice is made with the change that it tells of and written in the same step, so it cannot be lost, and says the same
however often it is sent and whatever becomes of the job meanwhile.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from jobs.job import Job, Status
from jobs.report import picture_json, result, rfc3339
from jobs.slots.pause import Pause

MAX_BODY_BYTES = 20_000
# What may be long, the least missed first.
_MAY_BE_LEFT_OUT = ("metadata", "upstream", "reason", "images")


class Kind(StrEnum):
    """What may be told. `webhook.test` is sent by order only."""

    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_PARKED = "job.parked"
    JOB_CANCELLED = "job.cancelled"
    CAMPAIGN_FINISHED = "campaign.finished"
    CAMPAIGN_PAUSED = "campaign.paused"
    TEST = "webhook.test"


OF_A_STATUS = {
    Status.SUCCEEDED: Kind.JOB_SUCCEEDED,
    Status.FAILED: Kind.JOB_FAILED,
    Status.PARKED: Kind.JOB_PARKED,
    Status.CANCELLED: Kind.JOB_CANCELLED,
}


@dataclass(frozen=True)
class Notice:
    """One thing that happened.

    Args:
        id: the `webhook-id`: the same for every endpoint and every try.
        kind: what happened.
        at: when.
        data: of it, as JSON.
        campaign: whose endpoints are told, beside those of all campaigns; None for none.
        hook: an address that the job itself brought along.
    """

    id: str
    kind: Kind
    at: datetime
    data: Mapping[str, Any]
    campaign: str | None = None
    hook: str | None = None

    @classmethod
    def of_job(cls, job: Job, version: int, at: datetime) -> Self:
        """A job has ended.

        Args:
            job: as it is now.
            version: of its record with this change; it may end again, after a retry.
            at: now, by the store's clock.
        """
        data = {"object": "job", **result(job, job.request, picture_json(job.picture))}
        return cls(_name(job, version), OF_A_STATUS[job.status], at, data, job.campaign, job.request.notify_hook)

    @classmethod
    def of_pause(cls, campaign: str, pause: Pause) -> Self:
        """A campaign was paused."""
        why = {"kind": pause.kind, "message": pause.message}
        data = {"object": "campaign", "name": campaign, "reason": why}
        return cls(f"msg_{secrets.token_hex(16)}", Kind.CAMPAIGN_PAUSED, pause.at, data, campaign)

    @classmethod
    def of_finished_campaign(cls, last: Job, version: int, at: datetime) -> Self:
        """Nothing is left to do in the campaign of this job. The store adds the counts."""
        data = {"object": "campaign", "name": last.campaign}
        return cls(f"{_name(last, version)}_campaign", Kind.CAMPAIGN_FINISHED, at, data, last.campaign)

    def to_doc(self) -> str:
        """As it is kept, under its id."""
        fields = {"type": self.kind, "timestamp": rfc3339(self.at), "data": self.data}
        return _json(fields | {"campaign": self.campaign, "hook": self.hook})

    @classmethod
    def from_doc(cls, notice_id: str, doc: str | bytes) -> Self:
        fields = json.loads(doc)
        at = datetime.fromisoformat(fields["timestamp"])
        return cls(notice_id, Kind(fields["type"]), at, fields["data"], fields["campaign"], fields["hook"])

    def body(self) -> bytes:
        """What is sent: under 20 kB; what had to be left out is named in `left_out`."""
        data = dict(self.data)
        for name in (None, *_MAY_BE_LEFT_OUT):
            if name is not None:
                data = data | {name: None, "left_out": [*data.get("left_out", []), name]}
            body = _json({"type": self.kind, "timestamp": rfc3339(self.at), "data": data}).encode()
            if len(body) < MAX_BODY_BYTES:
                return body
        raise AssertionError("a notice without its long parts is short")  # pragma: no cover


def _name(job: Job, version: int) -> str:
    """The order tells a job from one of the same content that was purged."""
    return f"msg_{job.id}_{job.order}_{version}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

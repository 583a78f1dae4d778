"""Views: what is told of jobs, pictures and lists, as it stands in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel

from jobs.actions import Action
from jobs.applying import Applied
from jobs.history import HistoryEntry
from jobs.job import Job, Status
from jobs.pictures.images import StoredImage
from jobs.report import parent_json, rfc3339
from producer.control import Ordered
from producer.report import whole_record


class ReasonView(BaseModel):
    """Why there is no picture: a stable kind for machines, a message for people."""

    kind: str
    message: str


class JobView(BaseModel):
    """A job in short. The whole record is at `status_url`."""

    id: str
    object: Literal["job"] = "job"
    status: Status
    custom_id: str | None
    campaign_id: str
    parent_id: str | None
    action: Action | None
    reason: ReasonView | None
    picture_url: str | None
    status_url: str
    cancel_url: str
    events_url: str
    created_at: str
    finished_at: str | None

    @classmethod
    def of(cls, job: Job) -> JobView:
        return cls(
            id=job.id,
            status=job.status,
            custom_id=job.request.custom_id,
            campaign_id=job.campaign,
            **parent_json(job),
            reason=job.reason and ReasonView(kind=job.reason.kind, message=job.reason.message),
            **_links(job),
            created_at=rfc3339(job.created_at) or "",
            finished_at=rfc3339(job.finished_at),
        )


class FollowUps(BaseModel):
    """The follow-ups that were asked for, in the order of the actions."""

    object: Literal["list"] = "list"
    data: list[JobView]


class JobPage(BaseModel):
    """Jobs in the order they were enqueued, the oldest campaign first. `next` is the next page's `after`."""

    object: Literal["list"] = "list"
    data: list[JobView]
    has_more: bool
    next: str | None


class ErrorView(BaseModel):
    """What a Problem says, of one line of a batch."""

    code: str
    detail: str
    retryable: bool


class BatchAnswer(BaseModel):
    """What a line of a batch came to: a job, or an error. `line` counts from 1."""

    line: int
    id: str | None = None
    status: Status | None = None
    custom_id: str | None = None
    error: ErrorView | None = None


class CampaignPage(BaseModel):
    """Campaigns, the oldest first. `next` is the next page's `after`."""

    object: Literal["list"] = "list"
    data: list[dict[str, Any]]
    has_more: bool
    next: str | None


class AppliedView(BaseModel):
    """What an order to a job came to. `changed` is false when there was nothing left to do."""

    changed: bool
    job: JobView

    @classmethod
    def of(cls, applied: Applied) -> AppliedView:
        return cls(changed=applied.changed, job=JobView.of(applied.after))


class OrderedView(BaseModel):
    """What an order to a campaign's jobs came to: how many it changed, by the status in which it left them."""

    changed: dict[Status, int]
    unchanged: int

    @classmethod
    def of(cls, ordered: Ordered) -> OrderedView:
        return cls(changed=dict(ordered.changed), unchanged=ordered.unchanged)


class ImageView(BaseModel):
    """A stored picture. `digest` is its name in jobs; sizes are in pixels."""

    digest: str
    media_type: str
    width: int
    height: int
    bytes: int
    url: str

    @classmethod
    def of(cls, image: StoredImage) -> ImageView:
        return cls(
            digest=image.digest,
            media_type=image.media_type,
            width=image.width,
            height=image.height,
            bytes=image.bytes,
            url=image_url(image.digest),
        )


def image_url(digest: str) -> str:
    return f"/v1/images/{digest}"


def whole_job(job: Job, history: Sequence[HistoryEntry], follow_ups: Sequence[Job]) -> dict[str, Any]:
    """Everything that is known of a job."""
    record = whole_record(job, history, follow_ups)
    record["campaign_id"] = record.pop("campaign")
    return record | _links(job)


def _links(job: Job) -> dict[str, Any]:
    url = f"/v1/jobs/{job.id}"
    return {
        "picture_url": image_url(job.picture.digest) if job.picture and job.status is Status.SUCCEEDED else None,
        "status_url": url,
        "cancel_url": url,
        "events_url": f"{url}/events",
    }

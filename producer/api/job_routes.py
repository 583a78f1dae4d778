"""/v1/jobs: enqueue, look, list, cancel, retry."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from jobs.job import Status
from producer.api.bodies import IdempotencyKey, JsonBody, NewJob, Wishes
from producer.api.listing import page_of_jobs
from producer.api.parts import After, Blends, JobId, Limit, known, model, takes
from producer.api.views import AppliedView, FollowUps, JobPage, JobView, whole_job
from producer.campaign import check_name

router = APIRouter(tags=["jobs"])

DIGESTS = [
    "sha256:9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0",
    "sha256:3e744b9dc39389baf0c5a0660589b8402f3dbb49b89b3e75f2c9355852a3c677",
]
EXAMPLE = {"images": DIGESTS, "dimensions": "SQUARE", "custom_id": "order-17", "campaign": "shop"}


@router.post("/v1/jobs", status_code=202, openapi_extra=takes("application/json", model("NewJob"), EXAMPLE))
def enqueue(blends: Blends, body: JsonBody, key: IdempotencyKey, response: Response) -> JobView:
    """Enqueue a blend. When this is answered, the job survives a power cut.

    The same `Idempotency-Key` and body give the same job again, and another body 422, whatever its campaign; 410 when
    the job was purged. Without a key the same pictures with the same options, in the same campaign, are the same job.
    """
    new = NewJob.read(body)
    job = JobView.of(blends.enqueue(new.request, campaign=new.campaign, idempotency_key=key))
    response.headers["Location"] = job.status_url
    return job


@router.get("/v1/jobs")
def list_jobs(
    blends: Blends,
    campaign: Annotated[str | None, Query(max_length=64, description="only this one's")] = None,
    status: Annotated[list[Status] | None, Query(description="only those in one of these")] = None,
    limit: Limit = 50,
    after: After = None,
) -> JobPage:
    """List jobs, in the order they were enqueued. A page of a filtered list may hold fewer than `limit`, and go on."""
    names = None if campaign is None else [check_name(campaign)]
    return page_of_jobs(blends.store, names, frozenset(status or Status), limit, after)


@router.get("/v1/jobs/{job_id}")
def show_job(blends: Blends, job_id: JobId) -> dict[str, Any]:
    """Everything that is known of a job, with its history."""
    known(blends, job_id)
    job = blends.get(job_id)
    return whole_job(job, blends.store.history(job_id), blends.follow_ups(job))


@router.delete("/v1/jobs/{job_id}")
def cancel_job(blends: Blends, job_id: JobId) -> AppliedView:
    """Give a job up. One that the API has already is cancelled there, if the API can; that may take a while."""
    return AppliedView.of(blends.cancel(known(blends, job_id)))


@router.post("/v1/jobs/{job_id}/retry")
def retry_job(blends: Blends, job_id: JobId) -> AppliedView:
    """Try a failed, cancelled or parked job again. A parked one may have been paid for: this may pay again."""
    return AppliedView.of(blends.retry(known(blends, job_id)))


@router.post(
    "/v1/jobs/{job_id}/act",
    status_code=202,
    openapi_extra=takes("application/json", model("Wishes"), {"actions": ["U2", "V1"]}),
)
def act_on_job(blends: Blends, job_id: JobId, body: JsonBody) -> FollowUps:
    """Have a finished grid carried on; each action becomes a job of its own, durable when this is answered.

    The same action of the same job is the same follow-up; with `again` it is one more. 409 when there is no grid.
    """
    wishes = Wishes.read(body)
    jobs = blends.act_all(known(blends, job_id), wishes.actions, again=wishes.again)
    return FollowUps(data=[JobView.of(job) for job in jobs])

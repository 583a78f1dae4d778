"""The id of a job, derived from what it is; so that enqueueing it again finds the same job.

An acknowledgement can be lost, and a run can be killed and started again. Both are harmless, because the second
time the same request comes to the same id, and `JobStore.create` creates only what does not exist (hazard of
"enqueue": nothing lost, nothing paid twice).
"""

from __future__ import annotations

from jobs.content import canonical, options_json
from jobs.ids import id_of
from jobs.request import BlendRequest, is_digest


def job_id(request: BlendRequest, campaign: str, idempotency_key: str | None = None, take: int = 1) -> str:
    """The id of the job that this request is. Stable for ever: the ids of running campaigns depend on it.

    Args:
        request: its images are digests.
        campaign: the same content in another campaign is another job.
        idempotency_key: the caller's own name for the job; the id then comes from the campaign and the key alone, and
            `JobStore.create` sees to it that no other campaign has a job of that key.
        take: 1 for the first blend of this content, 2 for a second one that is wanted as well, and so on.

    Raises:
        ValueError: an image is not a digest, `take` is less than 1, or several takes share one key.
    """
    if take < 1 or (idempotency_key is not None and take > 1):
        raise ValueError("take counts from 1, and a key names one job")
    if idempotency_key is not None:
        return id_of(canonical(["key", campaign, idempotency_key]))
    if not all(map(is_digest, request.images)):
        raise ValueError("a job is known by its pictures' digests; a path may hold another picture tomorrow")
    content = f'["content",{canonical(campaign)},{options_json(request)}]'
    return id_of(f"{content} {' '.join(request.images)} {take}")

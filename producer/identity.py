"""The id of a job, derived from what it is; so that enqueueing it again finds the same job.

An acknowledgement can be lost, and a run can be killed and started again. Both are harmless, because the second
time the same request comes to the same id, and `JobStore.create` creates only what does not exist (hazard of
"enqueue": nothing lost, nothing paid twice).
"""

from __future__ import annotations

import json
from functools import lru_cache

from jobs.ids import id_of
from jobs.request import BlendRequest, BotType, Dimensions, Mode, is_digest

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


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
        return id_of(_canonical(["key", campaign, idempotency_key]))
    if not all(map(is_digest, request.images)):
        raise ValueError("a job is known by its pictures' digests; a path may hold another picture tomorrow")
    options = _options(
        campaign,
        request.bot_type,
        request.dimensions,
        request.instance_id,
        request.modes,
        request.remix,
        request.remix_auto_considered,
    )
    return id_of(f"{options} {' '.join(request.images)} {take}")


@lru_cache(maxsize=1024)  # the rows of a campaign mostly share them
def _options(
    campaign: str,
    bot_type: BotType,
    dimensions: Dimensions,
    instance_id: str | None,
    modes: tuple[Mode, ...],
    remix: bool | None,
    remix_auto_considered: bool | None,
) -> str:
    """What changes the picture, or who may make it.

    Options that are not set are left out, so that an option which is added one day changes no id of today. `state`
    is not part of it, although the API sees it: it is a label that changes nothing in the picture, and the same
    content twice is to be one job and paid once; like `custom_id`, `metadata`, `priority` and `notify_hook`.
    """
    options = {
        "instance_id": instance_id,
        "modes": sorted(set(modes)) or None,  # a set of permissions: their order means nothing
        "remix": remix,
        "remix_auto_considered": remix_auto_considered,
    }
    given = {name: value for name, value in options.items() if value is not None}
    return _canonical(["content", campaign, {"bot_type": bot_type, "dimensions": dimensions} | given])

"""Follow-ups: what is wanted of a finished blend (an upscale, a variation, another grid), each a job of its own. Pure.

A follow-up has its parent's request, but for its name: it is the same blend, carried on. It uploads nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import count

from jobs.actions import Action, ActionKind
from jobs.ids import id_of
from jobs.job import Follows, Job, Status
from jobs.request import MAX_CUSTOM_ID_CHARACTERS, BlendRequest


def follow_up_id(parent: Job, action: Action, take: int = 1) -> str:
    """The same action of the same job is the same job. The order tells a parent from one that was purged."""
    return id_of(json.dumps(["follow-up", parent.id, parent.order, action, take]))


def follow_ups(parent: Job, actions: Sequence[Action], now: datetime, *, again: bool = False) -> Iterator[Job]:
    """Those follow-ups of a job that it does not have yet, waiting. Their order is the store's to give.

    Args:
        parent: the job.
        actions: what is wanted of it.
        now: the store's clock.
        again: one more of each, whether it has some or not; but for upscales, which are always the same picture.
    """
    for action in dict.fromkeys(actions):
        takes = count(1) if again and action.kind is not ActionKind.UPSCALE else (1,)
        take = next((one for one in takes if follow_up_id(parent, action, one) not in parent.follow_ups), None)
        if take is not None:
            yield _follow_up(parent, action, take, now)


def missing(parent: Job, actions: Sequence[Action]) -> list[Action]:
    """Those that the job neither has nor will have by itself."""
    coming = () if parent.status is Status.SUCCEEDED else parent.request.then
    return [one for one in actions if one not in coming and follow_up_id(parent, one) not in parent.follow_ups]


def _follow_up(parent: Job, action: Action, take: int, now: datetime) -> Job:
    follows = Follows(
        job_id=parent.id,
        order=parent.order,
        action=action,
        take=take,
        upstream=parent.upstream_of(parent.current),
    )
    return Job(
        id=follow_up_id(parent, action, take),
        campaign=parent.campaign,
        request=request_of(follows, parent.request),
        created_at=now,
        due_at=now,
        follows=follows,
    )


def request_of(follows: Follows, asked: BlendRequest) -> BlendRequest:
    """What a follow-up asks for, by what its parent did: the same under a name of its own, PARENT-U2."""
    suffix = f"-{follows.label}"
    name = asked.custom_id and asked.custom_id[: MAX_CUSTOM_ID_CHARACTERS - len(suffix)] + suffix
    return asked.model_copy(update={"custom_id": name, "then": ()})

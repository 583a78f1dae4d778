"""Faults of the producer's own webhooks: their endpoint, the line to it, and the worker that delivers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from jobs.history import HistoryEntry
from ops.chaos.endpoint import Endpoint
from ops.chaos.scene import Action, Scene
from ops.chaos.schedule import WEBHOOKS_FAIL, Fault
from ops.chaos.traps import AFTER_NOTICE, KILL
from ops.chaos.wire import Ill, Trouble

CAUGHT_SECONDS = 15.0
POLL_SECONDS = 0.05
_ILLS = {"hangs": Ill.BLACK_HOLE, "cuts": Ill.LOSE_REPLY, "is away": Ill.REFUSE}


@contextmanager
def fails(scene: Scene, fault: Fault) -> Iterator[None]:
    way = fault.details["way"]
    endpoint = scene.stack.endpoint
    if endpoint is None:
        raise RuntimeError("the stack has no endpoint")
    if way == "worker dies":
        _kill_who_delivers(scene)
        yield
    elif way == "answers 500":
        endpoint.refusing.set()
        try:
            yield
        finally:
            endpoint.refusing.clear()
    else:
        trouble = Trouble(_ILLS[way], share=1.0, count=5, only=b"POST ")
        scene.stack.relays["webhooks"].strike(trouble)
        try:
            yield
        finally:
            scene.stack.relays["webhooks"].relieve(trouble)


def _kill_who_delivers(scene: Scene) -> None:
    """Between the endpoint's answer and the record of it."""
    trap = scene.traps.lay(AFTER_NOTICE, KILL)
    give_up_at = time.monotonic() + CAUGHT_SECONDS
    while trap.caught is None and time.monotonic() < give_up_at:
        time.sleep(POLL_SECONDS)
    if trap.disarm():
        raise RuntimeError("nothing was delivered any more, so nobody died")


def problems(endpoint: Endpoint, histories: Mapping[str, Sequence[HistoryEntry]]) -> list[str]:
    """I6: each time a job ended is told at least once, under an id of its own, and says the same each time."""
    told = Counter({job_id: len(ids) for job_id, ids in endpoint.jobs().items()})
    ends = Counter({job_id: ends_of(history) for job_id, history in histories.items()})
    wrong = [
        f"{job_id} ended {ends[job_id]} times, and was told of under {told[job_id]} ids"
        for job_id in sorted(told.keys() | ends.keys())
        if told[job_id] != ends[job_id]
    ]
    changed = [notice for notice, bodies in endpoint.told.items() if len(bodies) > 1]
    return wrong + [f"notice {notice} said different things" for notice in changed]


def ends_of(history: Sequence[HistoryEntry]) -> int:
    """How often a job ended: again after a retry, or by a late success."""
    return sum(entry.after.final and entry.after is not entry.before for entry in history)


ACTIONS: dict[str, Action] = {WEBHOOKS_FAIL: fails}

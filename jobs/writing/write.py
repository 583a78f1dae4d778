"""Write: one change of a record, as `lua/save.lua` takes it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

from pydantic_core import to_json

from jobs.content import content_id
from jobs.doors import DEFAULT, named
from jobs.events import Act, Answer, Event, NoAnswer, Release, Retry, Reuse
from jobs.history import line_of
from jobs.job import Job, Status
from jobs.keys import Keys
from jobs.lifecycle import Change
from jobs.packing import LINES
from jobs.server import to_ms
from jobs.slots.gate import rank
from jobs.slots.pins import Queue
from jobs.telling.changes import entry
from jobs.telling.notices import Notice
from jobs.writing.docs import to_doc, to_kept
from jobs.writing.tallies import COUNTED, UNFINISHED, counted


def new_name() -> str:
    """A name for writes of the same moment, at most one of each job. It costs a system call, and another thread may
    take the interpreter's lock meanwhile: so one for many. Eight characters, since a record keeps the last eight names:
    that one of these is taken for a new one happens in one of some 10^12 writes.
    """
    return secrets.token_urlsafe(6)


@dataclass(frozen=True)
class Write:
    """The change, and its keys and arguments. It has a name of its own, so that it is known when it is repeated.

    `version` is that of the record once this is written.
    """

    before: Job
    after: Job
    version: str
    name: str
    keys: Sequence[str]
    args: Sequence[str | bytes]

    @classmethod
    def of(
        cls,
        keys: Keys,
        before: Job,
        change: Change,
        event: Event,
        version: str,
        now: datetime,
        name: str,
        *,
        last: str = "",
        created: bool = False,
    ) -> Self:
        """
        Args:
            keys: the store's.
            before: the record as it was read.
            change: what the lifecycle decided.
            event: what happened.
            version: of the record, as it was read.
            now: the store's clock.
            name: from `new_name`; those that are written together may share it.
            last: the name of the write that left the record so, where it was not read just now: by its version alone, a
                job that was purged and enqueued again may pass for the one that was before.
            created: it happens in the step that creates the job, and not to one of this id that was there already.
        """
        after = change.job
        own = [keys.job(after.id), keys.history(after.id), keys.campaign_counts(after.campaign)]
        slots = _slots(keys, before, after)
        place = _place(keys, after, now)
        stood = keys.places(before.status, before.campaign, _pin(before))
        own += [*slots, *(one for one in stood if place is None or one != place.key)]
        counts, there = counted(before, after)
        facts: dict[str, Any] = {
            "id": after.id,
            "version": version,
            "created": to_doc(before) if created else None,
            "write": name,
            "last": last or None,
            "once": isinstance(event, (Act, Retry)) or None,
            "slot": "hold" if after.status.holds_slot else "free",
            "slots": len(slots) or None,
            "tally": counts,
            "there": there or None,
            "answer": _answered(after, event),
        }
        if isinstance(event, Release):
            facts |= {"slot_limit": event.slots, "budget": event.budget}
        facts |= claims(before, after) | _content(before, after, event)
        if entry(before) != (shown := entry(after)):
            facts["shown"] = shown
        facts |= _told(before, after, int(version) + 1, now)
        if place is not None:
            own.append(place.key)
            facts["score"] = place.score
            facts["contender"] = place.contender
        if change.follow_ups:
            own += _keys_of_new(keys, change.follow_ups)
            facts["new"] = _new(change.follow_ups)
        facts["keys"] = len(own)
        line = LINES.pack(line_of(event, before, after, change.detail, now))
        told = to_json({name: value for name, value in facts.items() if value is not None})
        return cls(before, after, str(int(version) + 1), name, own, (to_kept(after), line, told))


def claims(before: Job, after: Job) -> dict[str, str]:
    """What the job newly says is its own: the id of a task, the digest of a picture."""
    claimed = {}
    if after.attempts is not before.attempts and (task := _new_task(before, after)) is not None:
        claimed["task_id"] = task
    if after.picture is not None and after.picture != before.picture and after.reused_from is None:
        claimed["picture"] = after.picture.digest
    return claimed


def _new_task(before: Job, after: Job) -> str | None:
    known = {task_claim(before, attempt.number, attempt.task_id) for attempt in before.attempts if attempt.task_id}
    for attempt in after.attempts:
        if attempt.task_id is not None and not attempt.gone:
            task = task_claim(after, attempt.number, attempt.task_id)
            if task not in known:
                return task
    return None


def _content(before: Job, after: Job, event: Event) -> dict[str, str]:
    """What others may have the picture of, from now on or no longer; of a blend, not of what carries one on. With a
    reuse also whose picture it is.
    """
    if (before.status is Status.SUCCEEDED) is (after.status is Status.SUCCEEDED) or after.follows:
        return {}
    source = {"source": event.source} if isinstance(event, Reuse) else {}
    return {"content": content_id(after.request)} | source


def _keys_of_new(keys: Keys, jobs: Sequence[Job]) -> list[str]:
    queue = Queue.of(jobs[0])
    return [keys.ready(*queue), keys.campaign_jobs(queue.campaign), *(keys.job(one.id) for one in jobs)]


def _new(jobs: Sequence[Job]) -> dict[str, Any]:
    """What is told of follow-ups that are to be created; all of one queue."""
    queue = Queue.of(jobs[0])
    each = [{"id": one.id, "rank": rank(one), "order": one.order, "doc": to_doc(one)} for one in jobs]
    return {"campaign": queue.campaign, "queue": str(queue), "jobs": each}


def _pin(job: Job) -> str:
    """What says in which queue a job waits; nothing for one that does not wait."""
    return Queue.of(job).pin if job.status is Status.WAITING else ""


def _slots(keys: Keys, before: Job, after: Job) -> list[str]:
    """The set of jobs that it leaves, and the one in which it stands if it holds a slot; none where that is the default
    one, before and after.
    """
    held = after.door
    left = before.door if before.status.holds_slot else held
    return [] if left == held == DEFAULT else [keys.door(left).slots, keys.door(held).slots]


def task_claim(job: Job, attempt: int, task_id: str) -> str:
    """A task by the name that is its own among those of all upstreams."""
    return named(job.upstream_of(attempt), task_id)


def _answered(job: Job, event: Event) -> str | None:
    """As what an answer to a submission is counted."""
    if isinstance(event, NoAnswer):
        return named(job.door_of(event.attempt), "unsure")
    return named(job.door_of(event.attempt), event.kind.value) if isinstance(event, Answer) else None


def _told(before: Job, after: Job, version: int, now: datetime) -> dict[str, Any]:
    """What the producer's webhooks are told of a change, if there are any."""
    if not after.status.final or after.status is before.status:
        return {}
    notice = Notice.of_job(after, version, now)
    told = {"notice": {"id": notice.id, "doc": notice.to_doc(), "at": to_ms(now), "hook": notice.hook is not None}}
    if before.status.final:  # it was parked after all: its campaign had been told of
        return told
    campaign = Notice.of_finished_campaign(after, version, now)
    facts = {"id": campaign.id, "doc": campaign.to_doc(), "at": to_ms(now)}
    return told | {"finished": facts | {"unfinished": len(UNFINISHED), "names": COUNTED}}


class _Place(NamedTuple):
    """The zset in which a job stands, its score there, and the queue that it makes a contender."""

    key: str
    score: int
    contender: str | None = None


def _place(keys: Keys, job: Job, now: datetime) -> _Place | None:
    if job.status in (Status.FAILED, Status.PARKED):
        return _Place(keys.campaign_failures(job.campaign), to_ms(job.finished_at or now))
    if job.due_at is None:
        return None
    if job.status is not Status.WAITING:
        return _Place(keys.at(job.status), to_ms(job.due_at))
    if job.due_at > now:
        return _Place(keys.later, to_ms(job.due_at))
    queue = Queue.of(job)
    return _Place(keys.ready(*queue), rank(job), str(queue))

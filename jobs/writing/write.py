"""Write: one change of a record, as `lua/save.lua` takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Self

from pydantic_core import to_json

from jobs.content import content_id
from jobs.doors import named
from jobs.events import FETCHER, Act, Answer, Event, NoAnswer, Release, Retry, Reuse, TaskSeen
from jobs.history import line_of
from jobs.job import Job, Status
from jobs.keys import Keys
from jobs.lifecycle import Change
from jobs.packing import LINES
from jobs.records import Known
from jobs.server import to_ms
from jobs.slots.gate import rank
from jobs.slots.pins import Queue
from jobs.telling.changes import entry
from jobs.telling.notices import Notice
from jobs.writing.docs import to_doc, to_kept
from jobs.writing.standing import moved
from jobs.writing.tallies import COUNTED, UNFINISHED, at_doors, delta, tally


class Write(NamedTuple):
    """The change, and its keys and arguments: the record as it was read, and as it is known once this is written."""

    read: Known
    written: Known
    keys: Sequence[str]
    args: Sequence[str | bytes]

    @classmethod
    def of(
        cls,
        keys: Keys,
        read: Known,
        change: Change,
        event: Event,
        now: datetime,
        name: str,
        *,
        tell: bool,
        created: bool = False,
    ) -> Self:
        """
        Args:
            keys: the store's.
            read: the record as it was read, or written: then with the name of that write, since by its version alone a
                job that was purged and enqueued again may pass for the one that was before.
            change: what the lifecycle decided.
            event: what happened.
            now: the store's clock.
            name: from `new_name`; those that are written together may share it.
            tell: what webhooks are told of an end comes along; else nothing is written where there are any.
            created: it happens in the step that creates the job, and not to one of this id that was there already.
        """
        before, after = read.job, change.job
        version, counts = int(read.version) + 1, tally(after)
        facts: dict[str, Any] = {"id": after.id, "version": read.version, "write": name}
        facts |= _guards(read, event, created=created) | claims(before, after) | _content(before, after, event)
        facts |= _counts(read, after, counts, event) | _told(before, after, version, now, tell=tell)
        sets, moves = moved(keys, before, after, now)
        own = [keys.job(after.id), keys.history(after.id), keys.campaign_counts(after.campaign), *sets]
        facts |= moves
        if to_fetch(before, after) and not (isinstance(event, TaskSeen) and event.source == FETCHER):
            facts["fetch"] = True
        if change.follow_ups:
            own += _keys_of_new(keys, change.follow_ups)
            facts["new"] = _new(change.follow_ups)
        facts["keys"] = len(own)
        line = LINES.pack(line_of(event, before, after, change.detail, now))
        written = Known(after, str(version), name, counts)
        return cls(read, written, own, (to_kept(after), line, to_json(facts)))


def _guards(read: Known, event: Event, *, created: bool) -> dict[str, Any]:
    """What must hold beside the version, or nothing is written."""
    guards: dict[str, Any] = {}
    if read.name:
        guards["last"] = read.name
    if created:
        guards["created"] = to_doc(read.job)
    if isinstance(event, Release):
        bounds = {"slot_limit": event.slots, "budget": event.budget}
        guards |= {name: bound for name, bound in bounds.items() if bound is not None}
    if isinstance(event, (Act, Retry)):
        guards["once"] = True
    return guards


def to_fetch(before: Job, after: Job) -> bool:
    """Whether there is a link to its picture that was not known before: an answer that comes late is no reason."""
    if after.status is not Status.COLLECTING:
        return False
    return before.status is not Status.COLLECTING or _link(before) != _link(after)


def _link(job: Job) -> str | None:
    return job.attempt.image_url if job.attempt else None


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


def task_claim(job: Job, attempt: int, task_id: str) -> str:
    """A task by the name that is its own among those of all upstreams."""
    return named(job.upstream_of(attempt), task_id)


def _counts(read: Known, after: Job, now: Mapping[str, int], event: Event) -> dict[str, Any]:
    """What changes in the counts; `now` is what the job adds to them from now on."""
    was = read.counts or tally(read.job)
    counts: dict[str, Any] = {"tally": delta(was, now)}
    if there := at_doors(read.job, was, after, now):
        counts["there"] = there
    if isinstance(event, (Answer, NoAnswer)):
        kind = event.kind if isinstance(event, Answer) else "unsure"
        counts["answer"] = named(after.door_of(event.attempt), str(kind))
    return counts


def _told(before: Job, after: Job, version: int, now: datetime, *, tell: bool) -> dict[str, Any]:
    """What is told of a change: to those who follow along, and of an end to the producer's webhooks."""
    shown = entry(after)
    told: dict[str, Any] = {} if entry(before) == shown else {"shown": shown}
    if not after.status.final or after.status is before.status:
        return told
    hook = after.request.notify_hook is not None
    if not (tell or hook):
        return told | {"untold": True}
    notice = Notice.of_job(after, version, now)
    told["notice"] = {"id": notice.id, "doc": notice.to_doc(), "at": to_ms(now), "hook": hook}
    if before.status.final:  # it was parked after all: its campaign had been told of
        return told
    campaign = Notice.of_finished_campaign(after, version, now)
    facts = {"id": campaign.id, "doc": campaign.to_doc(), "at": to_ms(now)}
    return told | {"finished": facts | {"unfinished": len(UNFINISHED), "names": COUNTED}}

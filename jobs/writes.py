"""Creation, Write and Deletion: what is done to records, as `lua/create.lua`, `save.lua` and `delete.lua` take it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

from jobs.content import content_id
from jobs.doors import DEFAULT, named
from jobs.events import Act, Answer, Event, NoAnswer, Release, Retry, Reuse
from jobs.history import HistoryEntry
from jobs.idempotency import content_of, digest_of
from jobs.job import Job, Status
from jobs.keys import Keys
from jobs.lifecycle import Change
from jobs.packing import LINES, RECORDS, unpacked
from jobs.server import to_bytes, to_ms
from jobs.slots.gate import rank
from jobs.slots.pins import Queue
from jobs.telling.changes import entry, shown
from jobs.telling.notices import Notice

# The names of the counts of a campaign.
_SUMMED = ("submissions", "uncertain", "resubmissions", "queued_answers", "working", "waiting_there")
_UNFINISHED = tuple(status.value for status in Status if not status.final)
# The names of the counts of a door.
AT_A_DOOR = ("released", "submitting", "committed", "unsure", "working", "waiting_there")
_COUNTED = (*_UNFINISHED, *(status.value for status in Status if status.final), *_SUMMED)


def new_name() -> str:
    """A name for writes of the same moment, at most one of each job. It costs a system call, and another thread may
    take the interpreter's lock meanwhile: so one for many. Eight characters, since a record keeps the last eight names:
    that one of these is taken for a new one happens in one of some 10^12 writes.
    """
    return secrets.token_urlsafe(6)


@dataclass(frozen=True)
class Creation:
    """Jobs of one campaign that are to be created in one step; `then` happens to some of them in the same step."""

    jobs: Sequence[Job]
    keys: Sequence[str]
    args: Sequence[str | int]
    then: Sequence[Write]

    @classmethod
    def of(cls, keys: Keys, jobs: Sequence[Job], epoch: str | None, then: Sequence[Write]) -> Self:
        """
        Args:
            keys: the store's.
            jobs: one or more, that differ in their ids, requests, keys and places alone; all waiting.
            epoch: that the server must have; None for any.
            then: first changes of some of these jobs.
        """
        first, campaign = jobs[0], jobs[0].campaign
        if any(_shared(job) != _shared(first) for job in jobs) or first.status is not Status.WAITING:
            raise ValueError("jobs are created waiting, for one campaign at a time, and in one moment")
        waits_in = list(map(Queue.of, jobs))
        queues = list(dict.fromkeys(waits_in))
        own = [
            keys.ready(*queues[0]),
            keys.counts,
            keys.campaign_counts(campaign),
            keys.campaigns,
            keys.campaign_jobs(campaign),
            keys.epoch,
            keys.contenders,
            keys.changes,
            *(keys.job(job.id) for job in jobs),
            *(keys.idempotency(digest_of(job.idempotency_key)) for job in jobs if job.idempotency_key),
            *(keys.ready(*queue) for queue in queues[1:]),
        ]
        args: list[str | int] = [campaign, to_ms(first.created_at), epoch or "", len(jobs), len(queues)]
        args += map(str, queues)
        place = {queue: number for number, queue in enumerate(queues, 1)}
        docs = _Docs(first)
        for job, queue in zip(jobs, waits_in, strict=True):
            content = content_of(job.request) if job.idempotency_key else ""
            args += (job.id, rank(job), job.order, docs.of(job), content, place[queue])
        return cls(jobs, own, args, then)


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
        facts: dict[str, Any] = {
            "id": after.id,
            "version": version,
            "created": to_doc(before) if created else None,
            "write": name,
            "last": last or None,
            "once": isinstance(event, (Act, Retry)) or None,
            "slot": "hold" if after.status.holds_slot else "free",
            "slots": len(slots) or None,
            "tally": _delta(tally(before), tally(after)),
            "there": _there(before, after),
            "answer": _answered(after, event),
        }
        if isinstance(event, Release):
            facts |= {"slot_limit": event.slots, "budget": event.budget}
        facts |= claims(before, after) | _content(before, after, event)
        if shown(before) != shown(after):
            facts["shown"] = entry(after)
        facts |= _told(before, after, int(version) + 1, now)
        if place is not None:
            own.append(place.key)
            facts["score"] = place.score
            facts["contender"] = place.contender
        if change.follow_ups:
            own += _keys_of_new(keys, change)
            queue = str(Queue.of(change.follow_ups[0]))
            facts["new"] = {
                "campaign": after.campaign,
                "queue": queue,
                "jobs": [_new(one) for one in change.follow_ups],
            }
        facts["keys"] = len(own)
        line = HistoryEntry.of(event, before, after, change.detail, now).to_line()
        facts_json = json.dumps({name: value for name, value in facts.items() if value is not None})
        return cls(before, after, str(int(version) + 1), name, own, (to_kept(after), LINES.pack(line), facts_json))


@dataclass(frozen=True)
class Deletion:
    """A finished job that is to be forgotten."""

    keys: Sequence[str]
    args: str

    @classmethod
    def of(cls, keys: Keys, job: Job, version: str) -> Self:
        """
        Args:
            keys: the store's.
            job: the record as it was read.
            version: of the record, as it was read.
        """
        own = [
            keys.job(job.id),
            keys.history(job.id),
            keys.campaign_counts(job.campaign),
            keys.campaign_jobs(job.campaign),
            keys.campaign_plan(job.campaign),
            keys.campaign_pause(job.campaign),
            keys.campaign_failures(job.campaign),
            keys.idempotency(digest_of(job.idempotency_key or "")),  # an empty key names nothing
        ]
        facts = {
            "id": job.id,
            "campaign": job.campaign,
            "version": version,
            "tasks": [_task(job, attempt.number, attempt.task_id) for attempt in job.attempts if attempt.task_id],
            "pictures": [job.picture.digest] if job.picture else [],
            "contents": [content_id(job.request)] if job.status is Status.SUCCEEDED else [],
            "tally": tally(job),
        }
        return cls(own, json.dumps(facts))


def to_doc(job: Job) -> str:
    """The record as JSON."""
    return job.model_dump_json(exclude_defaults=True)


def from_doc(kept: bytes | str) -> Job:
    """The job of a record, as it is kept."""
    return Job.model_validate_json(unpacked(to_bytes(kept)))


def to_kept(job: Job) -> str | bytes:
    """The record as it is kept: packed, once it is to be kept for long."""
    return RECORDS.pack(to_doc(job)) if job.status.final else to_doc(job)


def _shared(job: Job) -> tuple[object, ...]:
    return job.campaign, job.status, job.created_at, job.due_at


class _Docs:
    """As `to_doc`, of jobs that differ in id, request, key and place alone: the rest is written once for all of them.

    Args:
        like: one of them.
    """

    _PLACE = -987654321

    def __init__(self, like: Job) -> None:
        own = like.request.model_dump_json(exclude_defaults=True)
        doc = to_doc(like.but(id="", idempotency_key=None, order=self._PLACE))
        self._before, rest = doc.removeprefix('{"id":""').split(own)
        self._between, self._after = rest.split(str(self._PLACE))

    def of(self, job: Job) -> str:
        if job.idempotency_key or not job.order:
            return to_doc(job)
        own = job.request.model_dump_json(exclude_defaults=True)
        return f'{{"id":"{job.id}"{self._before}{own}{self._between}{job.order}{self._after}'


def tally(job: Job) -> dict[str, int]:
    """What one job adds to the counts of its campaign. Counts are sums of this, so they cannot drift."""
    summed = {name: count for name in _SUMMED if (count := getattr(job, name))}
    return {job.status.value: 1, **summed}


def claims(before: Job, after: Job) -> dict[str, str]:
    """What the job newly says is its own: the id of a task, the digest of a picture."""
    known = {_task(before, attempt.number, attempt.task_id) for attempt in before.attempts if attempt.task_id}
    claimed = {}
    for attempt in after.attempts:
        task = _task(after, attempt.number, attempt.task_id) if attempt.task_id is not None else None
        if task is not None and not attempt.gone and task not in known:
            claimed["task_id"] = task
            break
    if after.picture is not None and after.picture != before.picture and after.reused_from is None:
        claimed["picture"] = after.picture.digest
    return claimed


def _content(before: Job, after: Job, event: Event) -> dict[str, str]:
    """What others may have the picture of, from now on or no longer; of a blend, not of what carries one on. With a
    reuse also whose picture it is.
    """
    if (before.status is Status.SUCCEEDED) is (after.status is Status.SUCCEEDED) or after.follows:
        return {}
    source = {"source": event.source} if isinstance(event, Reuse) else {}
    return {"content": content_id(after.request)} | source


def _keys_of_new(keys: Keys, change: Change) -> list[str]:
    queue = Queue.of(change.follow_ups[0])
    return [keys.ready(*queue), keys.campaign_jobs(queue.campaign), *(keys.job(one.id) for one in change.follow_ups)]


def _new(job: Job) -> dict[str, Any]:
    return {"id": job.id, "rank": rank(job), "order": job.order, "doc": to_doc(job)}


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


def _there(before: Job, after: Job) -> dict[str, int] | None:
    """What changes in the counts of its door; what is at the default one is all that is at no other."""
    if not after.went_to:
        return None
    return _delta(_at_its_door(before), _at_its_door(after)) or None


def _at_its_door(job: Job) -> dict[str, int]:
    counts = tally(job) if job.door != DEFAULT else {}
    return {named(job.door, name): counts[name] for name in AT_A_DOOR if name in counts}


def _task(job: Job, attempt: int, task_id: str) -> str:
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
    return told | {"finished": facts | {"unfinished": len(_UNFINISHED), "names": _COUNTED}}


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


def _delta(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    if before == after:
        return {}
    names = before.keys() | after.keys()
    changes = {name: after.get(name, 0) - before.get(name, 0) for name in names}
    return {name: change for name, change in changes.items() if change}

"""JobStore: keeps jobs in Redis; the only writer.

A change is decided by `lifecycle.advance` from the record as it was read, and written by one script, which does
nothing when somebody else wrote in between: then it is read and decided again. Each write has a name of its own, so
that a repeated one (the reply was lost) is known for what it is.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis

from jobs.errors import EpochLost, JobNotFound, StoreUnavailable
from jobs.events import Conflict, Event
from jobs.gate import Gate, rank
from jobs.history import HistoryEntry
from jobs.job import Job, Status
from jobs.keys import Keys
from jobs.lifecycle import Change, Moment, advance
from jobs.policy import Policy
from jobs.server import lua, server_time, to_bytes, to_ms, to_text, to_time, unavailable

# A lost reply is asked for again under the same name; three times cover a restart of the connection.
WRITE_TRIES = 3
WRITE_RETRY_SECONDS = 0.1
# Every lost race means that somebody else moved the job; so many in a row mean that something is wrong.
MAX_RACES = 50


def tally(job: Job) -> dict[str, int]:
    """What one job adds to the counts of its campaign. Counts are sums of this, so they cannot drift."""
    counts = {
        job.status.value: 1,
        "submissions": job.submissions,
        "resubmissions": job.resubmissions,
        "queued_answers": job.queued_answers,
    }
    return {name: count for name, count in counts.items() if count}


@dataclass(frozen=True)
class Applied:
    """What an event came to. `before` is `after` when it meant nothing to the job."""

    before: Job
    after: Job

    @property
    def changed(self) -> bool:
        return self.before is not self.after

    @property
    def freed_slot(self) -> bool:
        return self.before.status.holds_slot and not self.after.status.holds_slot


class NoSlot(Exception):
    """Every slot is held: the job was not released. Not an error, and it does not leave dispatch."""


class JobStore:
    """All jobs of one blendq.

    Args:
        client: from `connect`; its own timeouts on, its own retries off.
        policy: what the lifecycle decides by.
        keys: another prefix for another blendq on the same server.
        chance: where random numbers in [0, 1) come from.

    Every method raises StoreUnavailable when Redis does not answer in time.
    """

    def __init__(
        self, client: redis.Redis, policy: Policy, keys: Keys | None = None, chance: random.Random | None = None
    ) -> None:
        self._redis = client
        self.policy = policy
        self._chance = chance or random.SystemRandom()
        self.keys = keys or Keys()
        self.gate = Gate(client, self.keys, self.find_many)
        self._save_script = client.register_script(lua("save"))
        self._create_script = client.register_script(lua("create"))
        self._take_due_script = client.register_script(lua("take_due"))

    def close(self) -> None:
        self._redis.close()

    def ping(self) -> None:
        """Raises StoreUnavailable when Redis does not answer."""
        with unavailable():
            self._redis.ping()

    # Reading ---------------------------------------------------------------------------------------------------

    def find(self, job_id: str) -> Job | None:
        with unavailable():
            doc = self._redis.hget(self.keys.job(job_id), "doc")
        return None if doc is None else Job.model_validate_json(to_bytes(doc))

    def get(self, job_id: str) -> Job:
        """
        Raises:
            JobNotFound: there is no such job.
        """
        if (job := self.find(job_id)) is None:
            raise JobNotFound(f"there is no job {job_id}; `blendq campaign list` shows what there is")
        return job

    def find_many(self, job_ids: Sequence[str]) -> list[Job | None]:
        """The jobs in the order asked for, in one round trip."""
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in job_ids:
                pipeline.hget(self.keys.job(job_id), "doc")
            docs: list[Any] = pipeline.execute() if job_ids else []
        return [None if doc is None else Job.model_validate_json(doc) for doc in docs]

    def history(self, job_id: str) -> list[HistoryEntry]:
        """What the job has been through, the oldest first; the enqueueing is told by the record itself."""
        job = self.get(job_id)
        with unavailable():
            lines: Any = self._redis.lrange(self.keys.history(job_id), 0, -1)
        return [HistoryEntry.enqueued(job), *(HistoryEntry.model_validate_json(line) for line in lines)]

    def counts(self, campaign: str | None = None) -> dict[str, int]:
        """The tally of one campaign, or of all jobs: a count for each status, submissions, resubmissions, 22s."""
        key = self.keys.counts if campaign is None else self.keys.campaign_counts(campaign)
        with unavailable():
            found: Any = self._redis.hgetall(key)
        return {to_text(name): int(count) for name, count in found.items() if int(count)}

    def campaigns(self) -> list[tuple[str, datetime]]:
        """Every campaign with the time of its first job, the oldest first."""
        with unavailable():
            found: Any = self._redis.zrange(self.keys.campaigns, 0, -1, withscores=True)
        return [(to_text(name), datetime.fromtimestamp(ms / 1000, UTC)) for name, ms in found]

    def campaign_jobs(self, campaign: str, page: int = 500) -> Iterator[Job]:
        """The campaign's jobs in the order they were enqueued, read page by page."""
        start = 0
        while True:
            with unavailable():
                ids: Any = self._redis.zrange(self.keys.campaign_jobs(campaign), start, start + page - 1)
            if not ids:
                return
            yield from (job for job in self.find_many([to_text(one) for one in ids]) if job)
            start += page

    def now(self) -> datetime:
        """The server's clock, the only one that counts."""
        return server_time(self._redis)

    # Writing ---------------------------------------------------------------------------------------------------

    def next_orders(self, count: int) -> int:
        """Set `count` places in the order of all jobs aside; returns the first. Unused ones are harmless."""
        with unavailable():
            last: Any = self._redis.incrby(self.keys.order, count)
        return int(last) - count + 1

    def create(self, jobs: Sequence[Job], epoch: str | None = None) -> list[bool]:
        """Create those jobs of one campaign that do not exist yet; durable when it returns.

        Args:
            jobs: all waiting.
            epoch: from `Epoch.verify`: nothing is created on a Redis that has lost it since; None for any.

        Returns:
            for each job whether it was created; False when it was there already.

        Raises:
            EpochLost: Redis has another epoch, or none.
        """
        if not jobs:
            return []
        campaign = jobs[0].campaign
        if any(job.campaign != campaign or job.status is not Status.WAITING for job in jobs):
            raise ValueError("create takes waiting jobs of one campaign")
        keys = [
            self.keys.ready,
            self.keys.counts,
            self.keys.campaign_counts(campaign),
            self.keys.campaigns,
            self.keys.campaign_jobs(campaign),
            self.keys.epoch,
            *(self.keys.job(job.id) for job in jobs),
        ]
        args: list[Any] = [campaign, to_ms(jobs[0].created_at), epoch or ""]
        for job in jobs:
            args += [job.id, rank(job), job.order, _doc(job)]
        created = self._repeatable(lambda: self._create_script(keys=keys, args=args))
        if created is None:
            raise EpochLost("Redis has lost its records in this very moment; nothing was enqueued, do it again")
        return [bool(one) for one in created]

    def apply(self, job_id: str, event: Event, *, slot_limit: int | None = None) -> Applied:
        """Let an event happen to a job: decided by the lifecycle, written only if nobody wrote in between.

        Args:
            job_id: the job.
            event: what happened.
            slot_limit: how many slots there are, when the event takes one.

        Raises:
            JobNotFound: there is no such job.
            NoSlot: all `slot_limit` slots are held.
        """
        for _ in range(MAX_RACES):
            job, version, now = self._load(job_id)
            change = advance(job, event, Moment(now, self._chance.random(), self.policy))
            if change is None:
                return Applied(job, job)
            match self._save(job, change, event, version, now, slot_limit):
                case ["saved"]:
                    return Applied(job, change.job)
                case ["stale"]:
                    continue
                case ["full"]:
                    raise NoSlot
                case ["conflict", owner]:
                    return self._conflict(job, change.job, str(owner))
                case answer:
                    raise AssertionError(f"save.lua answered {answer!r}")
        raise StoreUnavailable(f"job {job_id}: {MAX_RACES} writers in a row were faster; try again")

    def take_due(self, status: Status, count: int, hold_seconds: float) -> list[str]:
        """Take jobs of one status that are due to be looked at; nobody else gets them for `hold_seconds`."""
        args = [count, int(hold_seconds * 1000)]
        with unavailable():
            ids: Any = self._take_due_script(keys=[self.keys.at(status)], args=args)
        return [to_text(one) for one in ids]

    def extend_leases(self, held: Collection[tuple[Status, str]], seconds: float) -> None:
        """Whoever holds these jobs is alive: look at them only after `seconds` from now. No change of a record.

        Args:
            held: statuses and job ids; a job that is no longer in that status is left alone.
            seconds: from now on.
        """
        until = to_ms(self.now()) + int(seconds * 1000)
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for status, job_id in held:
                pipeline.zadd(self.keys.at(status), {job_id: until}, xx=True, gt=True)
            pipeline.execute()

    # Inside ----------------------------------------------------------------------------------------------------

    def _load(self, job_id: str) -> tuple[Job, str, datetime]:
        """The record, its version, and the server's clock, in one round trip."""
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.hmget(self.keys.job(job_id), ["doc", "version"])
            pipeline.time()
            answers: list[Any] = pipeline.execute()
        (doc, version), (seconds, micros) = answers
        if doc is None:
            raise JobNotFound(f"there is no job {job_id}")
        return Job.model_validate_json(doc), to_text(version), to_time(seconds, micros)

    def _save(
        self, before: Job, change: Change, event: Event, version: str, now: datetime, slot_limit: int | None
    ) -> list[str]:
        after = change.job
        keys = [
            self.keys.job(after.id),
            self.keys.history(after.id),
            self.keys.slots,
            self.keys.counts,
            self.keys.campaign_counts(after.campaign),
            self.keys.tasks,
            self.keys.pictures,
            *self.keys.places(before.status),
        ]
        facts: dict[str, Any] = {
            "id": after.id,
            "version": version,
            "write": uuid.uuid4().hex,
            "slot": "hold" if after.status.holds_slot else "free",
            "slot_limit": slot_limit,
            "tally": _delta(tally(before), tally(after)),
        }
        facts |= _claims(before, after)
        if (place := self._place(after, now)) is not None:
            keys.append(place[0])
            facts["score"] = place[1]
        entry = HistoryEntry.of(event, before, after, change.detail, now)
        facts_json = json.dumps({name: value for name, value in facts.items() if value is not None})
        args = [_doc(after), entry.to_line(), facts_json]
        answer = self._repeatable(lambda: self._save_script(keys=keys, args=args))
        return [to_text(part) for part in answer]

    def _place(self, job: Job, now: datetime) -> tuple[str, int] | None:
        """The zset in which the job stands, and its score there."""
        if job.due_at is None:
            return None
        if job.status is not Status.WAITING:
            return self.keys.at(job.status), to_ms(job.due_at)
        return (self.keys.ready, rank(job)) if job.due_at <= now else (self.keys.later, to_ms(job.due_at))

    def _conflict(self, job: Job, wanted: Job, owner: str) -> Applied:
        """I5: a task, or a picture, has one job. Neither of two can be trusted to have its own, so both are parked."""
        what = " and ".join(f"{name} {claimed}" for name, claimed in _claims(job, wanted).items())
        self.apply(owner, Conflict(other=job.id, what=what))
        return self.apply(job.id, Conflict(other=owner, what=what))

    def _repeatable(self, call: Any) -> Any:
        """Call a script that may be repeated; a reply that was lost is asked for again."""
        for last in (False,) * (WRITE_TRIES - 1) + (True,):
            try:
                with unavailable():
                    return call()
            except StoreUnavailable:
                if last:
                    raise
                time.sleep(WRITE_RETRY_SECONDS)
        raise AssertionError("unreachable")  # pragma: no cover


def _doc(job: Job) -> str:
    return job.model_dump_json(exclude_defaults=True)


def _delta(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    names = before.keys() | after.keys()
    changes = {name: after.get(name, 0) - before.get(name, 0) for name in names}
    return {name: change for name, change in changes.items() if change}


def _claims(before: Job, after: Job) -> dict[str, str]:
    """What the job newly says is its own: the id of a task, the digest of a picture."""
    known = {attempt.task_id for attempt in before.attempts}
    named = (attempt.task_id for attempt in after.attempts if not attempt.gone)
    claims = {}
    if (task_id := next((one for one in named if one is not None and one not in known), None)) is not None:
        claims["task_id"] = task_id
    if after.picture is not None and after.picture != before.picture:
        claims["picture"] = after.picture.digest
    return claims

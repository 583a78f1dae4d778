"""JobStore: keeps jobs in Redis; the only writer.

How events change them is in `jobs.applying`; here its steps are carried out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

import redis

from jobs.applying import Applied, Applying
from jobs.content import content_id
from jobs.errors import EpochLost, InvalidRequest
from jobs.events import Event, Reuse
from jobs.idempotency import refused
from jobs.idle import Idle
from jobs.job import Job, Status
from jobs.keys import Keys
from jobs.policy import Policy
from jobs.questions import Question, ask_all
from jobs.records import NOTHING_KNOWN, Known, Records, known_as
from jobs.request import BlendRequest
from jobs.server import begun, lua, refusal, repeatable, to_ms, to_text, unavailable
from jobs.slots.circuit import Circuit
from jobs.slots.gate import Gate
from jobs.slots.throttle import Throttle
from jobs.slots.turns import Turns
from jobs.steps import Load, Orders, Save, Step, carried_out
from jobs.telling.outbox import Outbox
from jobs.telling.webhooks import Webhooks
from jobs.writing.creation import Creation
from jobs.writing.deletion import Deletion
from jobs.writing.names import new_name

NO_REUSES: Mapping[str, Reuse] = {}


class JobStore(Records):
    """All jobs of one blendq: to read them, and to write them.

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
        super().__init__(client, keys or Keys())
        self.policy = policy
        self.applying = Applying(self.keys, policy, self._clock, chance)
        self.gate = Gate(client, self.keys, self.readable)
        self.circuit = Circuit(client, self.keys)
        self.throttle = Throttle(client, self.keys, policy)
        self.turns = Turns(client, self.keys)
        self.idle = Idle(client, self.keys)
        self.webhooks = Webhooks(client, self.keys)
        self.outbox = Outbox(client, self.keys)
        self.save_script = client.register_script(lua("new_jobs", "save"))
        self._create_script = client.register_script(lua("new_jobs", "create"))
        self._delete_script = client.register_script(lua("delete"))
        self._take_due_script = client.register_script(lua("take_due"))

    def close(self) -> None:
        self._redis.close()

    def ping(self) -> None:
        """Raises StoreUnavailable when Redis does not answer."""
        with unavailable():
            self._redis.ping()

    def ask_all(self, *questions: Question[Any]) -> list[Any]:
        """What each of them means, in one round trip."""
        return ask_all(self._redis, *questions)

    def next_orders(self, count: int) -> int:
        """Set `count` places in the order of all jobs aside; returns the first. Unused ones are harmless."""
        with unavailable():
            last: Any = self._redis.incrby(self.keys.order, count)
        return int(last) - count + 1

    def create(
        self, jobs: Sequence[Job], epoch: str | None = None, reuses: Mapping[str, Reuse] = NO_REUSES
    ) -> list[bool | InvalidRequest]:
        """Create those jobs of one campaign that do not exist yet; durable when it returns.

        Args:
            jobs: all waiting.
            epoch: from `Epoch.verify`: nothing is created on a Redis that has lost it since; None for any.
            reuses: by job id, pictures of others that will do (`reusable`): these jobs succeed in the same step, or
                wait like all others where the other has no such picture any more. One that was there already is left
                as it is.

        Returns:
            for each job whether it was created; False when it was there already. IdempotencyConflict when its key
            names another request, JobPurged when it was there once.

        Raises:
            EpochLost: Redis has another epoch, or none.
        """
        return self.begin(self.creation(jobs, epoch, reuses))() if jobs else []

    def creation(self, jobs: Sequence[Job], epoch: str | None, reuses: Mapping[str, Reuse] = NO_REUSES) -> Creation:
        """What `create` does, made ready to `begin`; at least one job."""
        name = new_name()
        then = [self.applying.first_write(job, reuses[job.id], name) for job in jobs if job.id in reuses]
        return Creation.of(self.keys, jobs, epoch, then)

    def begin(self, creation: Creation) -> Callable[[], list[bool | InvalidRequest]]:
        """Begin to create jobs; Redis works on them while the caller does something else.

        Returns:
            gives what `create` returns, and raises what it raises. It must be called, once.
        """
        answer = self._begin(creation)

        def outcome() -> list[bool | InvalidRequest]:
            if (created := answer()) is None:
                raise EpochLost("Redis has lost its records in this very moment; nothing was enqueued, do it again")
            return [_created(*each) for each in zip(creation.jobs, created, strict=True)]

        return outcome

    def reusable(self, requests: Sequence[BlendRequest]) -> list[Job | None]:
        """For each request a job that has succeeded with the same content, in whatever campaign."""
        if not requests:
            return []
        with unavailable():
            owners: Any = self._redis.hmget(self.keys.contents, [content_id(one) for one in requests])
        known = [to_text(one) for one in owners if one is not None]
        found = {job.id: job for job in self.find_many(known) if job and job.status is Status.SUCCEEDED}
        return [None if one is None else found.get(to_text(one)) for one in owners]

    def apply(self, job_id: str, event: Event, *, known: Known | None = None) -> Applied:
        """Let an event happen to a job: decided by the lifecycle, written only if nobody wrote in between.

        Args:
            job_id: the job.
            event: what happened.
            known: the record as the caller knows it; then it is read only if somebody has written it since.

        Raises:
            JobNotFound: there is no such job.
            NoSlot: all slots are held.
            BudgetSpent: the campaign has had its submissions.
        """
        (outcome,) = self.apply_many([(job_id, event)], {job_id: known} if known else NOTHING_KNOWN)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def apply_many(
        self, happened: Sequence[tuple[str, Event]], known: Mapping[str, Known] = NOTHING_KNOWN
    ) -> list[Applied | Exception]:
        """Let events happen to jobs; those of one job in the order given. Two round trips, one flush to the disk.

        Args:
            happened: jobs and events.
            known: by job id, records as the caller knows them, as for `apply`.

        Returns:
            for each what it came to, or what `apply` raises. One that fails holds up none of the others.
        """
        return carried_out(self.applying.steps(happened, known), self._ask)

    def delete(self, job_ids: Sequence[str], as_read: Sequence[Job] | None = None) -> int:
        """Forget finished jobs, with their histories and what they have claimed. Returns how many were forgotten.

        Args:
            job_ids: of the jobs; unfinished ones stay.
            as_read: their records: those stay that say anything else by now. None: whatever they say.
        """
        _, found = self._load(job_ids)
        known = [known_as(job_id, one) for job_id, one in zip(job_ids, found, strict=True) if _exists(one)]
        expected = None if as_read is None else {job.id: job for job in as_read}
        deletions = [
            Deletion.of(self.keys, one.job, one.version)
            for one in known
            if one.job.status.final and (expected is None or expected[one.job.id] == one.job)
        ]
        shared = [self.keys.counts, self.keys.tasks, self.keys.pictures, self.keys.campaigns, self.keys.contents]
        keys = [*shared, *(key for one in deletions for key in one.keys)]
        args = [one.args for one in deletions]
        return int(repeatable(lambda: self._delete_script(keys=keys, args=args))) if deletions else 0

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

    def look_again(self, jobs: Collection[Job]) -> None:
        """Look at these as soon as tasks of their age are looked at, though nothing new was heard of them. No change
        of a record; a job that is no longer in that status, or due sooner, is left alone.
        """
        now = self.now()
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for job in jobs:
                began = (job.attempt and job.attempt.committed_at) or now
                due = now + timedelta(seconds=self.policy.poll_seconds((now - began).total_seconds()))
                pipeline.zadd(self.keys.at(job.status), {job.id: to_ms(due)}, xx=True, lt=True)
            pipeline.execute()

    # Inside ----------------------------------------------------------------------------------------------------

    def _ask(self, step: Step) -> Any:
        match step:
            case Load(job_ids):
                return self._load(job_ids)
            case Save(_, keys, args):
                return repeatable(lambda: not_refused(self.save_script(keys=keys, args=args)))
            case Orders(count):
                return self.next_orders(count)

    def _begin(self, creation: Creation) -> Callable[[], Any]:
        if creation.then:
            return lambda: repeatable(lambda: self._create_and_save(creation))
        return begun(self._create_script, creation.keys, creation.args)

    def _create_and_save(self, creation: Creation) -> Any:
        """Create jobs, and let it happen to them what is to happen in the same step."""
        pipeline = self._redis.pipeline(transaction=True)
        self._create_script(keys=creation.keys, args=creation.args, client=pipeline)
        self.save_script(*self.applying.save_call(creation.then, creation.jobs[0].created_at), client=pipeline)
        created, answers = pipeline.execute()
        not_refused(answers)
        return created


def _created(job: Job, answer: Any) -> bool | InvalidRequest:
    """What create.lua says of one job."""
    if isinstance(answer, int):
        return bool(answer)
    owner = to_text(answer)
    return refused(job, job.id, same=True) if owner == "purged" else refused(job, owner, same=False)


def _exists(record: Any) -> bool:
    return isinstance(record, Exception) or record[0] is not None


def not_refused(answers: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    """The answers of save.lua; raises when the server takes no writes now, which it says of each write of the call."""
    for answer in answers:
        if to_text(answer[0]) == "error" and refusal(error := redis.ResponseError(to_text(answer[1]))):
            raise error
    return answers

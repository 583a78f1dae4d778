"""Applying: lets events happen to jobs: each is read, decided and written, in steps that others carry out.

A change is decided by `lifecycle.advance` from the record as it was read, and written by one script, which does
nothing when somebody else wrote in between: then it is read and decided again. Each write has a name of its own, so
that a repeated one (the reply was lost) is known for what it is.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import redis

from jobs.errands import COLLECTS
from jobs.errors import StoreUnavailable
from jobs.events import Conflict, Event
from jobs.job import Job
from jobs.keys import Keys
from jobs.lifecycle import Change, Moment, advance
from jobs.policy import Policy
from jobs.records import NOTHING_KNOWN, Known, known_as
from jobs.server import ServerClock, to_text
from jobs.slots.throttle import period
from jobs.steps import Load, Orders, Save, Steps
from jobs.writing.names import new_name
from jobs.writing.write import Write, claims, to_fetch

# Of a record that nobody has written since it was created.
FIRST_VERSION = "1"
# Every lost race means that somebody else moved the job; so many in a row mean that something is wrong.
MAX_RACES = 50


class Applied(NamedTuple):
    """What an event came to. `before` is `after` when it meant nothing to the job; `known` is the record since then."""

    before: Job
    after: Job
    known: Known | None = None

    @property
    def changed(self) -> bool:
        return self.before is not self.after

    @property
    def freed_slot(self) -> bool:
        return self.before.status.holds_slot and not self.after.status.holds_slot

    @property
    def to_fetch(self) -> bool:
        """Whether its picture is to be fetched now; then it stands in the list of those already."""
        return to_fetch(self.before, self.after)


class NoSlot(Exception):
    """Every slot is held: the job was not released. Not an error, and it does not leave dispatch."""


class BudgetSpent(Exception):
    """The job's campaign has had all the submissions that it may have. Likewise."""


class Applying:
    """
    Args:
        keys: the names of the keys.
        policy: what the lifecycle decides by.
        clock: the server's, as it was last read.
        chance: where random numbers in [0, 1) come from.
    """

    def __init__(self, keys: Keys, policy: Policy, clock: ServerClock, chance: random.Random | None) -> None:
        self._keys = keys
        self._policy = policy
        self._clock = clock
        # SystemRandom lets the interpreter's lock go for each number, which here only spreads what is tried again.
        self._chance = chance or random.Random()  # noqa: S311
        self._of_all_jobs = _of_all_jobs(keys)
        self._to_fetch = keys.errands(COLLECTS)
        self._tells = False  # as long as no webhook is heard of, nothing is made for them

    def steps(
        self, happened: Sequence[tuple[str, Event]], known: Mapping[str, Known] = NOTHING_KNOWN
    ) -> Steps[list[Applied | Exception]]:
        """What `JobStore.apply_many` does."""
        outcomes: dict[int, Applied | Exception] = {}
        races: dict[int, int] = {}
        while len(outcomes) < len(happened):
            turn = _first_of_each_job(happened, outcomes)
            tried = yield from self._try([happened[one] for one in turn], known)
            for place, outcome in zip(turn, tried, strict=True):
                if outcome is not None:
                    outcomes[place] = outcome
                    continue
                races[place] = races.get(place, 0) + 1
                if races[place] >= MAX_RACES:
                    outcomes[place] = StoreUnavailable(
                        f"job {happened[place][0]}: {MAX_RACES} writers in a row were faster; try again"
                    )
            known = NOTHING_KNOWN  # somebody has written since
        return [outcomes[place] for place in range(len(happened))]

    def first_write(self, job: Job, event: Event, name: str) -> Write:
        """What happens to a job in the step that creates it."""
        now = job.created_at
        change = advance(job, event, Moment(now, self._chance.random(), self._policy))
        if change is None:
            raise ValueError(f"job {job.id}: {type(event).__name__} cannot happen to a new job")
        return Write.of(self._keys, Known(job, FIRST_VERSION), change, event, now, name, tell=True, created=True)

    def _try(
        self, happened: Sequence[tuple[str, Event]], known: Mapping[str, Known]
    ) -> Steps[list[Applied | Exception | None]]:
        """Decide and write once, each job at most once; reads what is not known. None where somebody else wrote."""
        try:
            now, found = yield from self._recall([job_id for job_id, _ in happened], known)
        except StoreUnavailable as error:
            return [error] * len(happened)
        name = new_name()
        outcomes: dict[int, Applied | Exception | None] = {}
        writes: dict[int, Write] = {}
        for place, ((job_id, event), record) in enumerate(zip(happened, found, strict=True)):
            try:
                read = record if isinstance(record, Known) else known_as(job_id, record)
                change = advance(read.job, event, Moment(now, self._chance.random(), self._policy))
                if change is None:
                    # What means nothing to a record that may be old may mean something to the newest.
                    outcomes[place] = None if read is record else Applied(read.job, read.job, read)
                else:
                    change = yield from self._with_orders(change)
                    writes[place] = Write.of(self._keys, read, change, event, now, name, tell=self._tells)
            except Exception as error:  # noqa: BLE001  (whatever is wrong with one is no reason to fail the others)
                outcomes[place] = error
        saved = yield from self._save(list(writes.values()), now)
        outcomes |= zip(writes, saved, strict=True)
        return [outcomes[place] for place in range(len(happened))]

    def _recall(self, job_ids: Sequence[str], known: Mapping[str, Known]) -> Steps[tuple[datetime, Sequence[Any]]]:
        """As `_load`; without a round trip where all of it is known."""
        unknown = [job_id for job_id in job_ids if job_id not in known]
        now = self._clock.now()
        read: dict[str, Any] = {}
        if unknown or now is None:
            now, found = yield Load(unknown)
            read = dict(zip(unknown, found, strict=True))
        return now, [known.get(job_id) or read[job_id] for job_id in job_ids]

    def _with_orders(self, change: Change) -> Steps[Change]:
        """The follow-ups of a change with their places in the order of all jobs."""
        if not change.follow_ups:
            return change
        first = yield Orders(len(change.follow_ups))
        placed = (job.but(order=order) for order, job in enumerate(change.follow_ups, first))
        return change._replace(follow_ups=tuple(placed))

    def _save(self, writes: Sequence[Write], now: datetime) -> Steps[list[Applied | Exception | None]]:
        """Write what was decided, in one round trip. None where somebody else wrote in between."""
        if not writes:
            return []
        try:
            answers = yield Save(writes, *self.save_call(writes, now))
        except (StoreUnavailable, redis.ResponseError) as error:
            return [error] * len(writes)
        outcomes = []
        for write, answer in zip(writes, answers, strict=True):
            outcomes.append((yield from self._outcome(write, answer)))
        return outcomes

    def save_call(self, writes: Sequence[Write], now: datetime) -> tuple[list[str], list[str | bytes]]:
        """The script's KEYS and ARGV."""
        keys = [*self._of_all_jobs, self._keys.answers_in(period(now)), self._keys.contents, self._to_fetch]
        args: list[str | bytes] = []
        for write in writes:
            keys += write.keys
            args += write.args
        return keys, args

    def _outcome(self, write: Write, answer: Sequence[Any]) -> Steps[Applied | Exception | None]:
        before = write.read.job
        match [to_text(part) for part in answer]:
            case ["saved"]:
                return Applied(before, write.written.job, write.written)
            case ["stale"]:
                return None
            case ["untold"]:  # there are webhooks: from now on they are told of every end
                self._tells = True
                return None
            case ["full"]:
                return NoSlot()
            case ["void"]:
                return Applied(before, before)
            case ["spent"]:
                return BudgetSpent()
            case ["conflict", owner]:
                return (yield from self._conflict(before, write.written.job, owner))
            case ["error", words]:
                return redis.ResponseError(words)
            case other:
                return AssertionError(f"save.lua answered {other!r}")

    def _conflict(self, job: Job, wanted: Job, owner: str) -> Steps[Applied | Exception]:
        """I5: a task, or a picture, has one job. Neither of two can be trusted to have its own, so both are parked."""
        what = " and ".join(f"{name} {claimed}" for name, claimed in claims(job, wanted).items())
        parked = yield from self.steps(
            [(owner, Conflict(other=job.id, what=what)), (job.id, Conflict(other=owner, what=what))]
        )
        return next((outcome for outcome in parked if isinstance(outcome, Exception)), parked[1])


def _first_of_each_job(happened: Sequence[tuple[str, Event]], done: Collection[int]) -> list[int]:
    """The next to happen: what happens to one job happens in order, each on the record that the last one left."""
    first: dict[str, int] = {}
    for place, (job_id, _) in enumerate(happened):
        if place not in done:
            first.setdefault(job_id, place)
    return list(first.values())


def _of_all_jobs(keys: Keys) -> list[str]:
    """The keys that save.lua always takes, up to the ones that change with the time."""
    indexes = [keys.door().slots, keys.counts, keys.tasks, keys.pictures, keys.contenders]
    return [*indexes, keys.changes, keys.webhooks, keys.notices, keys.outbox, keys.answers]

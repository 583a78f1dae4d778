"""A model of everything around one job: two workers, the API, the sweep and a person, in any order of their steps.

What happens to the job is decided by the real `lifecycle.advance`. The rest is abstract: a step is whatever can
happen at once, and time is "not yet" or "over". A worker may rest between any two steps for as long as it likes, die
there, write from a record that it read long ago, and never hear whether its write was done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import NamedTuple

from jobs import events
from jobs.attempt import Attempt, TaskStatus
from jobs.events import AnswerKind, Event
from jobs.job import AT_THE_API, Job, Reason, Status
from jobs.lifecycle import CONFLICT, Moment, advance
from jobs.lifecycle.change import in_conflict
from jobs.policy import Policy
from jobs.settings import OnQueued
from tests.unit.lifecycle_world import LATER, PICTURE, SOON, START, new_job

# What the API did with each attempt, one letter an attempt, as far as anybody was shown. What it does unseen makes no
# difference to anybody, so it is taken to happen when it is shown.
NOTHING, ON_THE_WIRE, REFUSED = "-", "w", "r"
NAMED_ONLY = "k"  # answered with 22 and a task id, and not taken in truth
TAKEN, RUNNING, DONE, FAILED, TURNED_AWAY, CANCELLED = "a", "s", "D", "F", "Q", "C"
LOST, LOST_RUNNING = "X", "Y"  # taken, then forgotten: not known to have begun; known to have begun
ACCEPTED = frozenset({TAKEN, RUNNING, DONE, FAILED, TURNED_AWAY, CANCELLED, LOST, LOST_RUNNING})
# Beside these another attempt may be sent. A task that was seen to run, and then is forgotten, is not among them.
FREE = frozenset({NOTHING, REFUSED, NAMED_ONLY, FAILED, TURNED_AWAY, CANCELLED, LOST})
VERDICTS = (  # what the API may make of a whole request, and what it says
    (TAKEN, "accepted"),
    (TAKEN, "queued"),
    (NAMED_ONLY, "queued"),
    (REFUSED, "queued without id"),
    (REFUSED, "no_room"),
    (REFUSED, "invalid"),
)
# What a task may be now, when it is shown, and what else callbacks that come late may tell of it.
NOW = {
    TAKEN: (TAKEN, RUNNING, DONE, FAILED, TURNED_AWAY),
    RUNNING: (RUNNING, DONE, FAILED),
    DONE: (DONE,),
    FAILED: (FAILED, DONE),  # a late success
    TURNED_AWAY: (TURNED_AWAY,),
    CANCELLED: (CANCELLED,),
}
LATE = {RUNNING: (TAKEN,), DONE: (RUNNING,), LOST: (TAKEN, RUNNING), LOST_RUNNING: (TAKEN, RUNNING)}
FORGOTTEN = {TAKEN: LOST, NAMED_ONLY: NAMED_ONLY, LOST: LOST, LOST_RUNNING: LOST_RUNNING}
STATUS = {
    TAKEN: TaskStatus.NOT_START,
    RUNNING: TaskStatus.IN_PROGRESS,
    DONE: TaskStatus.SUCCESS,
    FAILED: TaskStatus.FAILURE,
    TURNED_AWAY: TaskStatus.FAILURE,
    CANCELLED: TaskStatus.CANCEL,
}


class Violation(AssertionError):
    """A property does not hold. `name` says which, `trace` the shortest way there."""

    def __init__(self, name: str, trace: tuple[str, ...] = ()) -> None:
        super().__init__(f"{name}, after:\n  " + "\n  ".join(trace))
        self.name, self.trace = name, trace


# What a worker knows of the record that it is about to write. A store that compares versions refuses what was decided
# on an old record, and reads and decides again: as if it had just been read. So FRESH stays FRESH, whoever writes.
# Without the comparison a number of zero or more is the old record.
FRESH = -1
UNHEARD = -2  # its own write is the last one, and the reply was lost


MISSING_ABSENCES = 2
WRITING = ("claiming", "committing", "recording")


class Worker(NamedTuple):
    """What one worker process is at."""

    at: str = "idle"
    attempt: int = 0
    said: str = ""
    read: int = FRESH


IDLE = Worker()


class State(NamedTuple):
    """All there is. The job is an index into `World.jobs`."""

    job: int
    api: str
    workers: tuple[Worker, ...] = (IDLE, IDLE)
    cancelled: bool = False  # a person cancelled it
    ordered: bool = False  # a person ordered a retry, which alone may pay again


class Step(NamedTuple):
    """`swept`: it needs neither callback nor person nor worker."""

    what: str
    state: State
    swept: bool = False


@dataclass(frozen=True)
class Habits:
    """What a worker and its store do right; each can be taken away to see that it is missed."""

    heeds_a_lost_lease: bool = True
    compares_versions: bool = True
    asks_again: bool = True  # a lost reply is asked for again, not taken for a yes
    commits_first: bool = True  # before the last byte
    sends_once: bool = True  # the HTTP client tries no second time
    knows_when_it_sent: bool = True  # says NOT_SENT only for what was not sent


GOOD = Habits()


@dataclass
class World:
    """The rules: what may happen next in a state. Remembers each decision of the lifecycle, which is pure."""

    mode: OnQueued
    habits: Habits = GOOD
    max_attempts: int = 2
    persons: bool = False
    forgets_what_runs: bool = False  # the API may forget a task that it has shown running
    jobs: list[Job] = field(default_factory=list)
    _policy: Policy = field(init=False)
    _index: dict[str, int] = field(default_factory=dict)
    _known: dict[tuple[int, Event, bool], int | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._policy = Policy(on_queued=self.mode, missing_absences=MISSING_ABSENCES)

    def start(self) -> State:
        return State(self._intern(new_job()), NOTHING * self.max_attempts)

    def steps(self, state: State) -> Iterator[Step]:
        """Everything that can happen next.

        Raises:
            Violation: it breaks a property.
        """
        for number in range(len(state.workers)):
            yield from self._worker_steps(state, number)
        yield from self._api_steps(state)
        yield from self._callbacks(state)
        yield from self._sweeps(state)
        if self.persons:
            yield from self._person(state)

    # The job ------------------------------------------------------------------------------------------------------

    def decide(self, job: int, event: Event, *, over: bool = False) -> int | None:
        """The job after the event; None where it means nothing. `over`: every limit and lease has run out."""
        key = (job, event, over)
        if key not in self._known:
            moment = Moment(START + (LATER if over else SOON), 0.5, self._policy)
            change = advance(self.jobs[job], event, moment)
            if change is not None:
                _check_change(self.jobs[job], event, change.job)
            self._known[key] = None if change is None else self._intern(_plain(change.job))
        return self._known[key]

    def _intern(self, job: Job) -> int:
        known_by = job.model_dump_json(exclude={"request"}, exclude_defaults=True)
        if known_by not in self._index:
            self._index[known_by] = len(self.jobs)
            self.jobs.append(job)
        return self._index[known_by]

    def _happens(
        self, state: State, what: str, event: Event, *, over: bool = False, swept: bool = False
    ) -> Iterator[Step]:
        """Somebody who reads and writes in one go lets an event happen."""
        after = self.decide(state.job, event, over=over)
        if after is not None:
            yield Step(what, self._written(state, after, by=None), swept)

    def _written(self, state: State, job: int, by: int | None) -> State:
        """The record was written; what the others have read is old now."""
        workers = tuple(
            one if number == by else self._overtaken(one, state.job) for number, one in enumerate(state.workers)
        )
        return state._replace(job=job, workers=workers)

    def _overtaken(self, worker: Worker, old: int) -> Worker:
        if worker.read == UNHEARD:
            return worker._replace(read=FRESH)
        stale = worker.at in WRITING and worker.read == FRESH and not self.habits.compares_versions
        return worker._replace(read=old) if stale else worker

    # A worker -----------------------------------------------------------------------------------------------------

    def _worker_steps(self, state: State, number: int) -> Iterator[Step]:
        me = state.workers[number]
        name = _name(me)
        if me.at != "idle":
            yield Step(name + "dies", _with(state, number, IDLE))
        match me.at:
            case "idle":
                yield from self._begins_to_write(state, number, Worker("claiming"))
            case "uploading":
                yield from self._uploading(state, number)
            case "committed":
                yield from self._committed(state, number)
            case "awaiting":
                if not self.habits.sends_once:
                    yield Step(name + "sends again", _sent(state, me.attempt, again=True))
                yield Step(name + "hears nothing", self._records(state, number, "no_answer"))
            case _:
                yield from self._writing(state, number)

    def _uploading(self, state: State, number: int) -> Iterator[Step]:
        me = state.workers[number]
        name = _name(me)
        if self.habits.commits_first:
            yield from self._begins_to_write(state, number, me._replace(at="committing"))
        else:
            sent = self._last_byte(state, me.attempt)
            yield Step(name + "sends all", _with(sent, number, me._replace(at="committing")))
        for said in ("not_sent", "no_room"):
            yield Step(f"{name}is cut or refused early: {said}", self._records(state, number, said))

    def _committed(self, state: State, number: int) -> Iterator[Step]:
        me = state.workers[number]
        name = _name(me)
        lost = "no_answer" if self.habits.knows_when_it_sent else "not_sent"
        yield Step(name + "is cut before the last byte", self._records(state, number, lost))
        sent = self._last_byte(state, me.attempt) if self.habits.commits_first else state
        yield Step(name + "sends the last byte", _with(sent, number, me._replace(at="awaiting")))
        if not self.habits.knows_when_it_sent:
            yield Step(name + "is cut after the last byte", self._records(sent, number, lost))

    def _last_byte(self, state: State, attempt: int) -> State:
        job = self.jobs[state.job]
        if job.claims != attempt and not state.ordered:
            raise Violation("a stale worker released its last byte")
        for number, at in enumerate(state.api, start=1):
            found = job.find_attempt(number)
            withdrawn = self.mode is OnQueued.RESUBMIT and (found is None or found.withdrawn)
            if number != attempt and at not in FREE and not withdrawn and not state.ordered:
                raise Violation("paid twice")
        return _sent(state, attempt)

    def _records(self, state: State, number: int, said: str) -> State:
        me = state.workers[number]
        return _with(state, number, Worker("recording", me.attempt, said))

    def _begins_to_write(self, state: State, number: int, worker: Worker) -> Iterator[Step]:
        begun = _with(state, number, worker)
        if self.habits.compares_versions:  # when it read makes no difference
            yield from self._writing(begun, number)
        else:
            yield Step(_name(worker) + f"is {worker.at}: reads", begun)

    def _writing(self, state: State, number: int) -> Iterator[Step]:
        """A write: decide on what was read, compare, set, reply. Each part may be late, and the reply may be lost."""
        me = state.workers[number]
        what = _name(me) + f"{me.at} {me.said}".rstrip()
        yield Step(what + ": the store is away", self._gives_up(state, number))
        if me.read == UNHEARD:
            yield Step(what + ": asks again, it was done", self._done(state, number, changed=True))
        else:
            yield from self._writes(state, number, what)

    def _writes(self, state: State, number: int, what: str) -> Iterator[Step]:
        me = state.workers[number]
        seen = state.job if me.read == FRESH else me.read
        event = _event(me)
        if isinstance(event, events.Claim) and self.jobs[seen].claims == self.max_attempts:
            return  # the edge of the model
        over = isinstance(event, events.Answer)
        afters = {self.decide(seen, event), self.decide(seen, event, over=True)} if over else {self.decide(seen, event)}
        for after in afters:
            if after is None:
                yield Step(what + ": nothing to write", self._done(state, number, changed=False))
                continue
            written = self._written(state, after, by=number)
            yield Step(what + ": written", self._done(written, number, changed=True))
            if self.habits.asks_again:
                unheard = _with(written, number, me._replace(read=UNHEARD))
                yield Step(what + ": written, the reply lost", unheard)
        if not self.habits.asks_again:
            yield Step(what + ": no reply, taken for a yes", self._done(state, number, changed=True))

    def _done(self, state: State, number: int, *, changed: bool) -> State:
        me = state.workers[number]
        going_on = changed or (me.at == "committing" and not self.habits.heeds_a_lost_lease)
        if me.at == "committing" and not going_on:
            return self._records(state, number, "not_sent")
        if me.at == "recording" or not going_on:
            return _with(state, number, IDLE)
        if me.at == "claiming":
            return _with(state, number, Worker("uploading", self.jobs[state.job].claims))
        return _with(state, number, Worker("committed", me.attempt))

    def _gives_up(self, state: State, number: int) -> State:
        if state.workers[number].at != "committing":
            return _with(state, number, IDLE)
        return self._records(state, number, "not_sent")  # the last byte was held back, whatever is in the record

    # The API ------------------------------------------------------------------------------------------------------

    def _api_steps(self, state: State) -> Iterator[Step]:
        for attempt, at in enumerate(state.api, start=1):
            if at == ON_THE_WIRE:
                yield from self._api_answers(state, attempt)

    def _api_answers(self, state: State, attempt: int) -> Iterator[Step]:
        waiting = [n for n, one in enumerate(state.workers) if (one.at, one.attempt) == ("awaiting", attempt)]
        for then, said in VERDICTS:
            after = _at_the_api(state, attempt, then)
            yield Step(f"the API says {said} to attempt {attempt}, unheard", after)
            for number in waiting:
                yield Step(f"the API says {said} to attempt {attempt}", self._records(after, number, said))

    def _callbacks(self, state: State) -> Iterator[Step]:
        for attempt, at in enumerate(state.api, start=1):
            for shown in NOW.get(at, ()):
                yield from self._shows(state, "callback", attempt, shown, shown)
            for shown in LATE.get(at, ()):
                yield from self._shows(state, "late callback", attempt, shown, at)

    def _shows(
        self, state: State, how: str, attempt: int, shown: str, then: str, *, swept: bool = False
    ) -> Iterator[Step]:
        after = self.decide(state.job, _seen(attempt, shown))
        told = _at_the_api(state, attempt, then)
        if after is not None:
            told = self._written(told, after, by=None)
        if told != state:
            yield Step(f"{how}: task {attempt} is {STATUS[shown]}", told, swept)

    # The sweep ----------------------------------------------------------------------------------------------------

    def _sweeps(self, state: State) -> Iterator[Step]:
        job = self.jobs[state.job]
        yield from self._happens(state, "dispatch", events.Release(_upstream(job.claims + 1)), swept=True, over=True)
        yield from self._happens(state, "sweep: the lease is over", events.LeaseEnd(), swept=True, over=True)
        yield from self._happens(state, "sweep: deadline", events.Deadline(), swept=True, over=True)
        if job.status is Status.COLLECTING:
            gone = events.CollectFailed("gone")
            yield from self._happens(state, "the picture is gone", gone, swept=True, over=True)
        for attempt, at in enumerate(state.api, start=1):
            if at == DONE:  # by whoever began to fetch it, however long ago
                collected = events.Collected(attempt, PICTURE)
                yield from self._happens(state, f"picture {attempt} is here", collected, swept=True)
        if job.status in AT_THE_API:
            yield from self._asks(state, job)

    def _asks(self, state: State, job: Job) -> Iterator[Step]:
        number, attempt = job.current, job.attempt
        if job.upstream != _upstream(number):
            raise Violation("another API was asked about a task")
        at = state.api[number - 1]
        for shown in NOW.get(at, ()):
            yield from self._shows(state, "poll", number, shown, shown, swept=True)
        if job.status is Status.UNSURE or attempt is None:
            return
        if at in FORGOTTEN or (at == RUNNING and self.forgets_what_runs):
            missing = events.TaskMissing(number)
            denied = _at_the_api(state, number, FORGOTTEN.get(at, LOST_RUNNING))
            for over in (False, True):
                yield from self._happens(denied, "poll: no such task", missing, swept=True, over=over)
        patience = events.PatienceEnd(number)
        yield from self._happens(state, "sweep: patience ends", patience, swept=True, over=True)
        if (attempt.withdrawn or job.cancel_requested) and at == TAKEN:
            yield Step("cancels there", _at_the_api(state, number, CANCELLED), swept=True)
        if attempt.withdrawn and self.mode is OnQueued.RESUBMIT:
            yield from self._happens(state, "cannot be cancelled there", events.Withdrawn(number), swept=True)

    def _person(self, state: State) -> Iterator[Step]:
        if not state.cancelled:
            yield from self._happens(state._replace(cancelled=True), "a person cancels", events.Cancel())
        if not state.ordered:
            yield from self._happens(state._replace(ordered=True), "a person orders a retry", events.Retry())


def _upstream(attempt: int) -> str:
    """Each attempt goes to another API: the worst that could be."""
    return f"api-{attempt}"


def _name(worker: Worker) -> str:
    return f"worker of attempt {worker.attempt} " if worker.attempt else "worker "


def _with(state: State, number: int, worker: Worker) -> State:
    workers = list(state.workers)
    workers[number] = worker
    return state._replace(workers=tuple(workers))


def _at_the_api(state: State, attempt: int, then: str) -> State:
    return state._replace(api=state.api[: attempt - 1] + then + state.api[attempt:])


def _sent(state: State, attempt: int, *, again: bool = False) -> State:
    at = state.api[attempt - 1]
    if at in ACCEPTED:
        raise Violation("paid twice")
    if at != NOTHING and not again:
        raise Violation("one attempt was sent twice")
    return _at_the_api(state, attempt, ON_THE_WIRE)


def _event(worker: Worker) -> Event:
    number = worker.attempt
    if worker.at == "claiming":
        return events.Claim("w")
    if worker.at == "committing":
        return events.Commit(number)
    match worker.said:
        case "no_answer":
            return events.NoAnswer(number, "")
        case "accepted":
            return events.Answer(number, AnswerKind.ACCEPTED, f"t{number}", code=1)
        case "queued":
            return events.Answer(number, AnswerKind.QUEUED, f"t{number}", code=22)
        case "queued without id":
            return events.Answer(number, AnswerKind.QUEUED, code=22)
        case said:
            return events.Answer(number, AnswerKind(said))


@cache
def _seen(attempt: int, shown: str) -> Event:
    progress = 50 if shown == RUNNING else None
    url = "http://cdn/1" if shown == DONE else None
    failure = "queue_full" if shown == TURNED_AWAY else ""
    return events.TaskSeen(attempt, f"t{attempt}", STATUS[shown], progress, url, failure)


def _check_change(before: Job, event: Event, after: Job) -> None:
    """What must hold of any one change, whatever the rest of the world is at."""
    begins = isinstance(event, events.Claim) or before.status is not Status.SUBMITTING
    if after.status is Status.SUBMITTING and begins and before.status is not Status.RELEASED:
        raise Violation("an upload began without a slot")
    if isinstance(event, events.Answer | events.NoAnswer):
        others = set(range(1, before.claims + 1)) - {event.attempt}
        if any(after.find_attempt(number) != before.find_attempt(number) for number in others):
            raise Violation("an answer was taken for another attempt's")
    if any(after.upstream_of(number) != before.upstream_of(number) for number in range(1, before.claims + 1)):
        raise Violation("an attempt changed its API")
    if isinstance(event, events.Claim) and before.cancel_requested:
        raise Violation("a cancelled job was sent again")
    if isinstance(event, events.Collected) and before.picture is not None:
        raise Violation("a success was recorded twice")


def _plain(job: Job) -> Job:
    """The same job for the lifecycle: every time is "before now", and what decides nothing here is left out."""
    reason = job.reason and Reason(kind=CONFLICT if in_conflict(job) else "other", message="")
    same = {"commits": 0, "queued_answers": 0, "backoffs": 0, "collect_failures": 0, "lost_claims": 0}
    times = {name: _then(getattr(job, name)) for name in ("due_at", "retrying_since", "finished_at")}
    return job.but(attempts=tuple(_plain_attempt(one) for one in job.attempts), reason=reason, **same, **times)


def _plain_attempt(attempt: Attempt) -> Attempt:
    times = {name: _then(getattr(attempt, name)) for name in ("claimed_at", "committed_at", "answered_at")}
    absences = min(attempt.absences, MISSING_ABSENCES)
    since = START if absences else None
    code = 22 if attempt.code == 22 else None
    return attempt.but(description="", seen_at=None, code=code, absences=absences, absent_since=since, **times)


def _then(time: datetime | None) -> datetime | None:
    return None if time is None else START

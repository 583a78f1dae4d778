"""The store on a real server against a model of it: a few dicts, and the table of design in plain words.

Rules do what workers, the API, people and bad luck do, in any order. After each one the model and the records agree,
every index says what the records say, and each change left one line of history and one more version.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from jobs import events
from jobs.applying import Applied, NoSlot
from jobs.attempt import TaskStatus
from jobs.doors import DEFAULT
from jobs.errors import StoreUnavailable
from jobs.events import AnswerKind, Event
from jobs.job import Picture, Status
from jobs.keys import Keys
from jobs.policy import Policy
from jobs.server import connect, to_text
from jobs.store import JobStore
from tests.integration.store_model import HOUR, NAMES, POLICY, SEEN, SLOTS, BadLine, C, Model, MovedStore, R, U, W
from tests.integration.stored import add, assert_consistent, happen
from tests.unit.lifecycle_world import PICTURE, new_job

# The machine --------------------------------------------------------------------------------------------------------

names = st.sampled_from(NAMES)
picks = st.integers(0, 999)  # which of the events that could come next
lost_replies = st.sampled_from([(1, 0), (0, 1), (1, 1), (0, 2), (2, 0)])


def news(name: str, number: int, status: TaskStatus) -> Event:
    progress = 50 if status is TaskStatus.IN_PROGRESS else None
    url = "http://cdn/1" if status is TaskStatus.SUCCESS else None
    return events.TaskSeen(number, f"task-{name}-{number}", status, progress, url)


def picture(name: str) -> Picture:
    return PICTURE.but(digest=f"sha256:{name}")


DOORS = (DEFAULT, "spare")


def answers(name: str, number: int) -> list[Event]:
    task = f"task-{name}-{number}"
    return [
        events.Answer(number, AnswerKind.ACCEPTED, task, code=1),
        events.Answer(number, AnswerKind.QUEUED, task, code=22),
        events.Answer(number, AnswerKind.QUEUED, code=22),
        events.Answer(number, AnswerKind.NO_ROOM, code=23),
        events.Answer(number, AnswerKind.NOT_SENT),
        events.Answer(number, AnswerKind.GIVEN_UP),
        events.Answer(number, AnswerKind.INVALID, code=4),
        events.NoAnswer(number, "cut"),
    ]


def likely(model: Model) -> list[Event]:
    """What moves a job of this status on."""
    number = model.current
    said = answers(model.name, number)
    shown = [news(model.name, number, status) for status in SEEN]
    match model.status:
        case Status.WAITING:
            return [events.Release(door) for door in DOORS]
        case Status.RELEASED:
            return [events.Claim("w1"), events.Claim("w2"), events.LeaseEnd()]
        case Status.SUBMITTING:
            return [events.Commit(number), events.Commit(number), events.LeaseEnd(), *said[3:6]]
        case Status.COMMITTED:
            return [said[0], events.LeaseEnd(), *said[1:], *shown, events.LeaseEnd(), events.LeaseEnd()]
        case Status.UNSURE:
            return [events.Deadline(), *said[:4], *shown]
        case Status.QUEUED | Status.ACCEPTED | Status.RUNNING:
            return [*shown, events.TaskMissing(number), events.TaskMissing(number), *said[:2]]
        case Status.COLLECTING:
            return [
                events.Collected(number, picture(model.name)),
                events.Collected(number, picture(model.name)),
                *shown,
            ]
        case Status.FAILED | Status.CANCELLED | Status.PARKED:
            return [events.Retry(), *shown, *said[:2]]
        case _:
            return []


def stray(model: Model) -> list[Event]:
    """What comes late, twice, or to the wrong job; and what people do."""
    late = max(0, model.claims - 1)
    name = model.name
    return [
        *(events.Cancel(), events.Retry(), events.Claim("w3"), events.LeaseEnd(), events.Deadline()),
        *(
            events.Commit(late),
            events.Commit(model.claims),
            events.TaskMissing(late),
            events.Collected(late, picture(model.name)),
        ),
        *(events.NoAnswer(late, "cut"), *answers(name, late)[:4], *(news(name, late, status) for status in SEEN)),
    ]


class StoreMachine(RuleBasedStateMachine):
    """Three jobs, two doors with two slots each, two stores."""

    client: ClassVar[redis.Redis]

    @initialize()
    def begin(self) -> None:
        keys = Keys(f"test-{uuid.uuid4()}")
        self.store, self.other = (MovedStore(self.client, POLICY, keys) for _ in range(2))
        self.models: dict[str, Model] = {}
        self.tasks: dict[str, Model] = {}
        self.changes: dict[str, int] = {}
        self.enqueue(["job_1", "job_2"], 0, 0)

    # What is done to the store, and to the model of it

    def _event(self, name: str, event: Event) -> None:
        """Let the event happen to the job and to the model."""
        versions = {one: self._version(one) for one in self.models}
        applied = self.store.apply(name, event)
        for one, version in versions.items():
            assert self._version(one) - version <= 1, "one event, one change"
            self.changes[one] += self._version(one) - version
        assert applied.changed == (self._version(name) != versions[name])
        assert applied.after == self.store.get(name)
        self.models[name].happens(event, self.tasks)

    def _version(self, name: str) -> int:
        version: Any = self.client.hget(self.store.keys.job(name), "version")
        return int(version)

    # Rules

    @rule(batch=st.lists(names, min_size=1, max_size=3), before=st.integers(0, 2), after=st.integers(0, 1))
    def enqueue(self, batch: list[str], before: int, after: int) -> None:
        """Once, twice, in a batch, twice in one batch; with lost replies."""
        now = self.store.now()
        first = self.store.next_orders(len(batch))
        jobs = [new_job(id=name, created_at=now, due_at=now, order=first + at) for at, name in enumerate(batch)]
        line = BadLine(self.store._create_script, before, min(after, 2 - before))
        self.store._create_script, script = line, self.store._create_script  # type: ignore[assignment]
        created = self.store.create(jobs)
        self.store._create_script = script
        for at, name in enumerate(batch):
            new = name not in self.models
            assert created[at] == (new and len(line.answers) == 1), "a repeated call finds its own job"
            if new:
                self.models[name] = Model(name)
                self.changes[name] = 0

    @rule(name=names, door=st.sampled_from(DOORS))
    def release(self, name: str, door: str) -> None:
        """Slots: at no door one more than there are is given out."""
        if name not in self.models:
            return
        self._hour_passes()
        model = self.models[name]
        full = sum(one.status.holds_slot and one.door == door for one in self.models.values()) >= SLOTS
        if model.status is W and full:
            with pytest.raises(NoSlot):
                self.store.apply(name, events.Release(door, slots=SLOTS))
            return
        applied = self.store.apply(name, events.Release(door, slots=SLOTS))
        self.changes[name] += applied.changed
        model.happens(events.Release(door), self.tasks)

    @rule(name=names, pick=picks)
    def step(self, name: str, pick: int) -> None:
        if (event := self._chosen(name, pick)) is not None:
            self._event(name, event)

    @rule(name=names, picks=st.lists(st.integers(0, 13), min_size=1, max_size=4))
    def submitted(self, name: str, picks: list[int]) -> None:
        """The straight way to the last byte, and on."""
        if name not in self.models:
            return
        self._upload(name)
        for pick in picks:
            self._moved_on(self.models[name], pick)

    def _upload(self, name: str) -> None:
        while self.models[name].status in (W, R, U):
            self._moved_on(self.models[name], 0)

    def _moved_on(self, model: Model, pick: int) -> None:
        self._hour_passes()
        if ways := likely(model):
            self._event(model.name, ways[pick % len(ways)])

    @rule(names=st.permutations(NAMES), by_callback=st.booleans())
    def conflict(self, names: list[str], by_callback: bool) -> None:
        """I5: the API names a task, or delivers a picture, that is another job's."""
        name, other = names[0], names[1]
        if name not in self.models or other not in self.models:
            return
        self._upload(other)
        if self.models[other].status is C:
            self._moved_on(self.models[other], 0)
        self._upload(name)
        model, number = self.models[name], self.models[name].current
        theirs = [what for what, owner in self.tasks.items() if owner.name == other]
        named_here = [what for what in theirs if what.startswith("task-")] if model.door == DEFAULT else []
        if model.status is Status.COLLECTING and picture(other).digest in theirs:
            self._event(name, events.Collected(number, picture(other)))
        elif named_here and model.status in (C, Status.UNSURE) and not model.tries[number].answered:
            answer = events.Answer(number, AnswerKind.ACCEPTED, named_here[0], code=1)
            seen = events.TaskSeen(number, named_here[0], TaskStatus.IN_PROGRESS, 10)
            self._event(name, seen if by_callback else answer)

    @rule(name=names, lost=lost_replies, pick=picks)
    def badly_connected(self, name: str, lost: tuple[int, int], pick: int) -> None:
        """Requests and replies of the write are lost; the same write is asked for again."""
        event = self._chosen(name, pick)
        if event is None:
            return
        line = self._line(*lost)
        self._event(name, event)
        self._mend()
        assert set(line.answers) <= {"saved", "conflict"}, "a repeated write knows itself"

    @rule(name=names, ran=st.booleans(), pick=picks)
    def cut_off(self, name: str, ran: bool, pick: int) -> None:
        """Redis stays away: nobody knows whether the write was done. The record does."""
        event = self._chosen(name, pick)
        if event is None:
            return
        version = self._version(name)
        line = self._line(before=0 if ran else 3, after=3 if ran else 0)
        try:
            assert not self.store.apply(name, event).changed
        except StoreUnavailable:
            assert bool(line.answers) == ran
            if ran:
                self.models[name].happens(event, self.tasks)
        self._mend()
        self.changes[name] += self._version(name) - version

    @rule(name=names, mine=picks, theirs=picks)
    def stale(self, name: str, mine: int, theirs: int) -> None:
        """Both stores read; the other one writes; then ours writes, on what it read before."""
        ours, others = self._chosen(name, mine), self._chosen(name, theirs)
        if ours is None or others is None:
            return
        version, line = self._version(name), self._line()
        outcomes: list[Applied] = []

        def overtake() -> None:
            outcomes.append(self.other.apply(name, others))
            self.store.ahead += HOUR

        self.store.overtaken_by = overtake
        applied = self.store.apply(name, ours)
        self._mend()
        assert self._version(name) - version == outcomes[0].changed + applied.changed
        if outcomes[0].changed:
            assert line.answers[:1] in (["stale"], []), "what was decided on an old record is not written"
        self.changes[name] += self._version(name) - version
        # Where the old record gave ours nothing to write, it came first.
        self._models(name, *((others, ours) if line.answers else (ours, others)))

    @rule(name=names, mine=picks, theirs=picks)
    def overtaken_while_the_reply_is_lost(self, name: str, mine: int, theirs: int) -> None:
        """Our write is done, its reply lost, and another write follows before we ask again."""
        ours, others = self._chosen(name, mine), self._chosen(name, theirs)
        if ours is None or others is None:
            return
        version, line = self._version(name), self._line(after=1)

        def overtake() -> None:
            self.other.ahead += HOUR
            self.other.apply(name, others)
            self.store.ahead += 2 * HOUR

        line.meanwhile = overtake
        self.store.apply(name, ours)
        self._mend()
        self.changes[name] += self._version(name) - version
        then = [others] if line.answers else []
        # Where it was overtaken it decides anew, as if it had never written.
        self._models(name, ours, *then, *([ours] if "stale" in line.answers else []))

    def _hour_passes(self) -> None:
        self.store.ahead = self.other.ahead = max(self.store.ahead, self.other.ahead) + HOUR

    def _models(self, name: str, *happened: Event) -> None:
        for event in happened:
            self.models[name].happens(event, self.tasks)

    def _chosen(self, name: str, pick: int) -> Event | None:
        """One of the events that could come next: of three two that matter. An hour has passed."""
        if name not in self.models:
            return None
        self._hour_passes()
        model = self.models[name]
        events = stray(model) if pick % 3 == 0 else likely(model) or stray(model)
        return events[pick // 3 % len(events)]

    def _line(self, before: int = 0, after: int = 0) -> BadLine:
        self._script = self.store.save_script
        line = BadLine(self._script, before, after)
        self.store.save_script = line  # type: ignore[assignment]
        return line

    def _mend(self) -> None:
        self.store.save_script = self._script
        self.store.overtaken_by = None

    # What holds after each rule

    @invariant()
    def the_model_agrees(self) -> None:
        for name, model in self.models.items():
            job = self.store.get(name)
            lived = "\n".join(entry.model_dump_json() for entry in self.store.history(name))
            assert (job.status, job.current, job.claims) == (model.status, model.current, model.claims), lived
            assert job.cancel_requested == model.cancel_requested, lived
            assert {number: job.door_of(number) for number in model.went_by} == model.went_by, lived

    @invariant()
    def every_change_left_one_line_and_one_version(self) -> None:
        for name, changes in self.changes.items():
            assert self._version(name) == 1 + changes
            lines: Any = self.client.llen(self.store.keys.history(name))
            assert lines == min(changes, 200)

    @invariant()
    def a_task_or_picture_has_one_job(self) -> None:
        keys = self.store.keys
        claimed: Any = self.client.hgetall(keys.tasks) | self.client.hgetall(keys.pictures)
        owners = {to_text(what): to_text(name) for what, name in claimed.items()}
        assert owners == {task: owner.name for task, owner in self.tasks.items()}
        for name in self.models:
            for attempt in self.store.get(name).attempts:
                task = attempt.task_id and self.models[name].named(attempt.number, attempt.task_id)
                assert task is None or owners[task] == name

    @invariant()
    def no_index_drifts(self) -> None:
        assert_consistent(self.store, self.client, list(self.models))


@pytest.fixture
def client(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    monkeypatch.setattr("jobs.server.WRITE_RETRY_SECONDS", 0)
    client = connect(redis_url)
    yield client
    client.close()


@pytest.mark.timeout(600)  # a failure is made small before it is shown
@pytest.mark.timeout(900)
@pytest.mark.no_cover
def test_the_store_is_what_the_model_says(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """I1, I2, I3, I5."""
    monkeypatch.setattr(StoreMachine, "client", client, raising=False)
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(max_examples=25, stateful_step_count=40, suppress_health_check=list(HealthCheck)),
    )


# What the model found -----------------------------------------------------------------------------------------------


@pytest.fixture
def store(client: redis.Redis, keys: Keys) -> JobStore:
    return JobStore(client, Policy(backoff_base_seconds=0.001, backoff_cap_seconds=0.001), keys)


UPLOADED = (events.Release(), events.Claim("w1"), events.Commit(1))


def test_a_cancelled_job_that_is_refused_is_not_sent_again(store: JobStore) -> None:
    """Cancelled while its last byte was out, and then refused: nothing was paid, and nothing more is to be."""
    add(store)
    job = happen(store, "job_1", *UPLOADED, events.Cancel(), events.Answer(1, AnswerKind.NO_ROOM, code=23))
    assert job.status is Status.CANCELLED


def test_late_news_of_a_task_that_ended_moves_nothing(store: JobStore) -> None:
    """A person's order to try again stands, though a callback from before the failure comes after it."""
    add(store)
    failed, running = news("job_1", 1, TaskStatus.FAILURE), news("job_1", 1, TaskStatus.IN_PROGRESS)
    job = happen(store, "job_1", *UPLOADED, answers("job_1", 1)[0], failed, events.Retry(), running)
    assert job.status is Status.WAITING


def test_a_conflict_with_a_parked_job_is_remembered(client: redis.Redis, keys: Keys) -> None:
    """I5: the task of a parked job is another job's, too: its picture is not to be trusted."""
    store = JobStore(client, Policy(task_limit_seconds=0), keys)
    for name in ("job_1", "job_2"):
        add(store, name)
        happen(store, name, *UPLOADED)
    happen(store, "job_1", events.Answer(1, AnswerKind.ACCEPTED, "t1", code=1), events.Deadline())
    happen(store, "job_2", events.Answer(1, AnswerKind.ACCEPTED, "t1", code=1))
    job = happen(store, "job_1", events.TaskSeen(1, "t1", TaskStatus.SUCCESS, 100, "http://cdn/1"))
    assert job.status is Status.PARKED


def test_a_commit_that_is_overtaken_while_its_reply_is_lost_is_taken_back(store: JobStore) -> None:
    """The worker is told no, so it holds the last byte back and says so: the job does not wait for an answer."""
    add(store)
    happen(store, "job_1", *UPLOADED[:2])
    script = store.save_script

    def cancel() -> None:
        store.save_script = script
        store.apply("job_1", events.Cancel())

    store.save_script = BadLine(script, after=1, meanwhile=cancel)  # type: ignore[assignment]
    assert not store.apply("job_1", events.Commit(1)).changed
    assert happen(store, "job_1", events.Answer(1, AnswerKind.NOT_SENT)).status is Status.CANCELLED

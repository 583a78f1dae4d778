"""What the flow goes by, on a real server: counts that cannot drift, guarded moves; a sandbox that is found full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from jobs import events
from jobs.attempt import TaskStatus
from jobs.doors import DEFAULT
from jobs.events import AnswerKind
from jobs.job import Job, Status
from jobs.keys import Keys
from jobs.policy import Policy
from jobs.request import BlendRequest
from jobs.server import connect
from jobs.slots.found import START_SLOTS
from jobs.store import JobStore
from tests.integration.sandboxes import Sandbox
from tests.integration.workbench import open_workbench, wait_for
from worker.cores import ask_for_cores
from worker.dispatch import dispatch
from worker.reconcile import sweep
from worker.submit import submit

DIGEST = "sha256:" + "0" * 64


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with connect(redis_url) as made:
        yield made


@pytest.fixture
def store(client: redis.Redis, keys: Keys) -> JobStore:
    return JobStore(client, Policy(silence_seconds=45), keys)


def committed(store: JobStore, *names: str) -> None:
    """Jobs whose bodies were sent whole."""
    now = store.now()
    request = BlendRequest(images=(DIGEST, DIGEST))
    store.create([Job(id=name, request=request, created_at=now, due_at=now) for name in names])
    for name in names:
        for event in (events.Release(), events.Claim("w"), events.Commit(1)):
            store.apply(name, event)


def seen(name: str, status: TaskStatus) -> events.TaskSeen:
    return events.TaskSeen(
        1, f"task-{name}", status, image_url="http://cdn/1" if status is TaskStatus.SUCCESS else None
    )


def test_what_works_and_what_waits_is_known_from_the_records_own_writes(store: JobStore) -> None:
    committed(store, "a", "b", "c")
    store.apply("a", events.Answer(1, AnswerKind.ACCEPTED, "task-a", code=1))
    store.apply("b", events.Answer(1, AnswerKind.QUEUED, "task-b", 1, code=22))
    _, now = store.throttle.read()
    assert (now.held, now.on_the_way, now.working, now.waiting, now.unseen) == (3, 1, 0, 1, 2), "a code 1 may wait, too"
    store.apply("a", seen("a", TaskStatus.NOT_START))
    assert store.throttle.read()[1].waiting == 2
    for name in "ab":
        store.apply(name, seen(name, TaskStatus.SUBMITTED))
    _, now = store.throttle.read()
    assert (now.working, now.waiting) == (2, 0)
    store.apply("a", seen("a", TaskStatus.SUCCESS))
    store.apply("b", seen("b", TaskStatus.FAILURE))
    _, now = store.throttle.read()
    assert (now.held, now.working, now.waiting) == (1, 0, 0)


def test_each_answer_is_counted_once_also_when_the_reply_of_its_write_is_lost(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(store, "a", "b", "c", "d")
    script = store.save_script
    lost: list[object] = []

    def lose_first_reply(**call: object) -> object:
        answer = script(**call)  # type: ignore[arg-type]
        if not lost:
            lost.append(answer)
            raise redis.ConnectionError("the reply was lost")
        return answer

    monkeypatch.setattr(store, "save_script", lose_first_reply)
    store.apply("a", events.Answer(1, AnswerKind.ACCEPTED, "task-a", code=1))
    assert lost
    store.apply("a", events.Answer(1, AnswerKind.ACCEPTED, "task-a", code=1))
    store.apply("b", events.Answer(1, AnswerKind.QUEUED, "task-b", 1, code=22))
    store.apply("c", events.Answer(1, AnswerKind.NO_ROOM, code=23))
    store.apply("d", events.NoAnswer(1, "cut"))
    assert store.throttle.answers_of_last_hour() == {"accepted": 1, "queued": 1, "no_room": 1, "unsure": 1}
    _, now = store.throttle.read()
    assert (now.taken, now.refused, now.unsent) == (2, 1, 0)


def test_of_two_who_look_one_moves_it_and_why_is_kept(
    store: JobStore, client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"job_{number}" for number in range(START_SLOTS)]
    committed(store, *names)
    for name in names:
        store.apply(name, events.Answer(1, AnswerKind.ACCEPTED, f"task-{name}", code=1))
        store.apply(name, seen(name, TaskStatus.IN_PROGRESS))
    other = JobStore(client, Policy(silence_seconds=45), keys)
    read = store.throttle._read({"default": None})
    flow, _ = other.throttle.look_at({DEFAULT: None})[DEFAULT]
    assert flow.slots > START_SLOTS
    monkeypatch.setattr(store.throttle, "_read", lambda _: read)
    assert store.throttle.look_at({DEFAULT: None})[DEFAULT][0].slots == START_SLOTS, (
        "it was read before the other moved it"
    )
    (move,) = other.throttle.moves()
    assert (move.before, move.after, move.working) == (START_SLOTS, flow.slots, START_SLOTS)
    assert move.why == flow.why == "all that is at the API is worked on"


def test_a_real_api_is_found_full(redis_url: str, keys: Keys, tmp_path: Path) -> None:
    """Two accounts with two cores each, nothing set, no callbacks: 3, then 5, one of which waits; so 4."""
    endless = ("--task-seconds", "5000", "5000", "--accounts", "2", "--core-size", "2")
    with Sandbox(tmp_path, "--personality", "open-source", *endless) as box:
        settings = {"waiting_per_running": 0, "ask_accounts": False}
        bench = open_workbench(redis_url, keys, tmp_path / "blendq", box.url, **settings)
        for number in range(8):
            bench.add(f"job_{number}")

        def full() -> bool:
            dispatch(bench.context)
            while bench.wakeups.submits:
                submit(bench.context, bench.wakeups.submits.pop())
            sweep(bench.context)
            flow, now = bench.store.throttle.read()
            return (flow.slots, now.working, now.waiting) == (4, 4, 1)

        try:
            wait_for(full, lambda: str(bench.store.throttle.moves()))
            assert bench.store.throttle.answers_of_last_hour() == {"accepted": 4, "queued": 1}
            assert bench.store.counts()[Status.WAITING] == 3
        finally:
            bench.sandbox.close()
            bench.context.close()


@pytest.mark.parametrize(
    ("personality", "cores"), [("open-source", 6), ("plus", 6), ("community", None), ("gateway", None)]
)
def test_accounts_are_asked_for_now_and_then_where_the_api_tells(
    redis_url: str, keys: Keys, tmp_path: Path, personality: str, cores: int | None
) -> None:
    with Sandbox(tmp_path, "--personality", personality, "--accounts", "2") as box:
        bench = open_workbench(redis_url, keys, tmp_path / "blendq", box.url)
        try:
            ask_for_cores(bench.context, *bench.context.settings.apis)
            assert bench.store.throttle.read()[1].cores == cores
            bench.store.throttle.note_cores(1, 60)
            ask_for_cores(bench.context, *bench.context.settings.apis)
            assert bench.store.throttle.read()[1].cores == 1, "it was asked a moment ago"
        finally:
            bench.sandbox.close()
            bench.context.close()

"""Errands: one message is enough for any number of jobs, none waits for ever, and whoever waits is handed one."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from jobs import errands as room
from jobs.errands import COLLECTS, CONTROL, SUBMITS, Errand, Errands
from jobs.errors import StoreUnavailable
from jobs.keys import BROKER_PREFIX, Keys
from tests.integration.workbench import wait_for
from worker import duty
from worker.context import Activity
from worker.duty import Duty


@pytest.fixture
def errands(client: redis.Redis, keys: Keys) -> Errands:
    return Errands(client, keys)


@pytest.fixture
def queue(client: redis.Redis) -> Iterator[str]:
    """Of this test's own: the broker's queues are everybody's."""
    name = uuid.uuid4().hex
    yield name
    client.delete(BROKER_PREFIX + name)


def taken(errand: Errand | None) -> str | None:
    return errand.job_id if errand else None


def test_the_longest_waiting_goes_first(errands: Errands, queue: str) -> None:
    errands.add(queue, ["a", "b"])
    errands.add(queue, ["c"])
    assert [taken(errands.take([queue])) for _ in range(4)] == ["a", "b", "c", None]


def test_the_first_of_several_queues_that_has_any_goes_first(errands: Errands, queue: str) -> None:
    errands.add(f"{queue}-2", ["b"])
    errands.add(queue, ["a"])
    assert errands.take([queue, f"{queue}-2"]) == Errand(queue, "a", call=f"{queue}-2")
    assert errands.take([queue, f"{queue}-2"]) == Errand(f"{queue}-2", "b")


def test_a_message_is_sent_only_where_none_waits(errands: Errands, queue: str, client: redis.Redis) -> None:
    assert errands.add(queue, ["a"])
    client.lpush(BROKER_PREFIX + queue, "a message")
    assert not errands.add(queue, ["b", "c"])
    assert errands.take([queue]) == Errand(queue, "a")


def test_whoever_takes_one_calls_another_for_the_rest(errands: Errands, queue: str) -> None:
    errands.add(queue, ["a", "b", "c"])
    assert errands.take([queue]) == Errand(queue, "a", call=queue)
    assert errands.take([queue]) == Errand(queue, "b", call=queue)
    assert errands.take([queue]) == Errand(queue, "c"), "nothing is left to do for another"


def test_it_is_told_what_does_not_wait(errands: Errands, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    errands.add(queue, ["a", "b"])
    assert errands.absent(queue, ["c", "b", "d", "a"]) == ["c", "d"]
    monkeypatch.setattr(room, "LONG_LIST", 1)
    assert errands.absent(queue, ["c"]) == [], "a long list is not looked through"


def test_whoever_waits_is_handed_the_first_and_needs_no_message(
    errands: Errands, queue: str, client: redis.Redis
) -> None:
    found: list[Errand | None] = []
    waiter = threading.Thread(target=lambda: found.append(errands.wait([f"{queue}-2", queue], seconds=20.0)))
    waiter.start()
    wait_for(lambda: blocked(client), lambda: "nobody waits")
    assert not errands.add(queue, ["a"])
    waiter.join(20.0)
    assert found == [Errand(queue, "a")]
    assert errands.take([queue]) is None
    assert errands.wait([queue], seconds=0.01) is None


def blocked(client: redis.Redis) -> bool:
    return int(client.info("clients")["blocked_clients"]) > 0


class Waiting:
    """Wake-ups that hand out errands from a list; further ones come to whoever waits for them."""

    def __init__(self, *left: Errand, later: Sequence[Errand] = (), on_wait: Callable[[], None] = lambda: None) -> None:
        self.left, self.later, self.on_wait = list(left), list(later), on_wait
        self.looked: list[str] = []
        self.waits = 0

    def next(self, queues: Sequence[str]) -> Errand | None:
        self.looked.append(queues[1])
        return self.left.pop(0) if self.left else None

    def wait(self, queues: Sequence[str], seconds: float) -> Errand | None:
        assert set(queues) == {CONTROL, SUBMITS, COLLECTS}
        assert seconds
        self.waits += 1
        self.on_wait()
        return self.later.pop(0) if self.later else None

    def give_back(self, errand: Errand) -> None:
        self.left.append(errand)


A, B, C = (Errand(SUBMITS, job_id) for job_id in "abc")


class Bench:
    """A worker's duty whose steps do nothing but tell."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, wakeups: Waiting, threads: int = 2) -> None:
        self.leaving = threading.Event()
        self.done: list[str] = []
        context: Any = SimpleNamespace(
            wakeups=wakeups,
            activity=Activity(),
            leaving=self.leaving,
            settings=SimpleNamespace(worker_threads=threads),
        )
        self.duty = Duty(context)
        self.fails: set[str] = set()
        self.vain: set[str] = set()
        monkeypatch.setattr(duty, "submit", lambda _, job_id: self._step("submit", job_id))
        monkeypatch.setattr(duty, "collect", lambda _, job_id: self._step("collect", job_id))
        monkeypatch.setattr(duty, "dispatch", lambda _: self._step("dispatch", ""))

    def _step(self, what: str, job_id: str) -> bool:
        if job_id in self.fails:
            raise StoreUnavailable("away")
        self.done.append(f"{what} {job_id}".strip())
        return job_id not in self.vain


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duty, "IDLE_SECONDS", 0.0)


@pytest.mark.usefixtures("no_patience")
def test_one_message_is_enough_for_all_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    wakeups = Waiting(A, Errand(COLLECTS, "b"), Errand(CONTROL, "all"), C)
    bench = Bench(monkeypatch, wakeups)
    bench.duty.work()
    assert bench.done == ["submit a", "collect b", "dispatch", "submit c"]
    # Neither keeps the other waiting; pictures go first, and a dispatch takes nobody's turn.
    assert wakeups.looked == [COLLECTS, COLLECTS, SUBMITS, SUBMITS, COLLECTS]


@pytest.mark.usefixtures("no_patience")
def test_a_wake_up_that_was_in_vain_takes_nobody_s_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    wakeups = Waiting(Errand(COLLECTS, "a"), Errand(COLLECTS, "b"))
    bench = Bench(monkeypatch, wakeups)
    bench.vain.add("a")
    bench.duty.work()
    assert wakeups.looked == [COLLECTS, COLLECTS, SUBMITS]


class Endless(Waiting):
    """Of each kind something waits, always."""

    def next(self, queues: Sequence[str]) -> Errand | None:
        return Errand(queues[1], "x")


def test_pictures_that_take_longer_than_a_turn_leave_submissions_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of an API whose pictures hang: other APIs have slots that are free."""
    bench, clock = Bench(monkeypatch, Endless()), itertools.count(0.0, duty.STAY_SECONDS)
    monkeypatch.setattr(duty, "time", SimpleNamespace(monotonic=lambda: next(clock) / 2))
    for _ in range(4):
        bench.duty.work()
    assert bench.done == ["collect x", "submit x", "collect x", "submit x"]


@pytest.mark.usefixtures("no_patience")
def test_a_tick_works_off_the_lists_for_messages_get_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, Waiting(Errand(COLLECTS, "b"), A))
    bench.duty.dispatch()
    assert bench.done == ["dispatch", "collect b", "submit a"]


@pytest.mark.usefixtures("no_patience")
def test_a_job_that_is_put_off_holds_up_none_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, Waiting(A, B, C))
    bench.fails = {"a"}
    bench.duty.work()
    assert bench.done == ["submit b", "submit c"]


def test_a_thread_waits_for_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, Waiting(A, later=[B]))
    monkeypatch.setattr(duty, "IDLE_SECONDS", 0.05)
    bench.duty.work()
    assert bench.done == ["submit a", "submit b"]


def test_one_thread_does_not_wait_so_that_ticks_find_it(monkeypatch: pytest.MonkeyPatch) -> None:
    wakeups = Waiting(A, later=[B])
    bench = Bench(monkeypatch, wakeups, threads=1)
    bench.duty.work()
    assert bench.done == ["submit a"]
    assert wakeups.waits == 0


def test_a_turn_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    wakeups = Waiting(A, B)
    bench = Bench(monkeypatch, wakeups)
    clock = iter([0.0, 0.1, 0.1, duty.STAY_SECONDS])
    monkeypatch.setattr(duty, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    bench.duty.work()
    assert wakeups.left == [B], "the thread is wanted for others"


def test_a_worker_that_leaves_takes_nothing_more_and_gives_back_what_it_was_handed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wakeups = Waiting(later=[A])
    bench = Bench(monkeypatch, wakeups)
    wakeups.on_wait = bench.leaving.set
    bench.duty.work()
    assert (bench.done, wakeups.left) == ([], [A]), "it is for another worker"
    bench.duty.work()
    assert (bench.done, wakeups.left) == ([], [A])

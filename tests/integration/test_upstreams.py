"""Two APIs: a worker's steps against two sandboxes, which keep their own ledgers."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs.actions import Action
from jobs.doors import upstream_of
from jobs.events import Act, Cancel
from jobs.job import Job, Status
from jobs.keys import Keys
from jobs.request import Mode
from producer.upstream import UpstreamReport, reports
from producer.waiting import why_waiting
from tests.integration.sandboxes import Sandbox
from tests.integration.workbench import DEADLINE_SECONDS, Workbench, open_workbench, wait_for
from worker.collect import collect
from worker.dispatch import dispatch
from worker.proxy.lookups import CannotTell
from worker.reconcile import sweep
from worker.submit import submit

ONE, TWO = "one", "two"
OURS = {"api_url": None, "ask_accounts": False}
_numbers = itertools.count(1)


class Pair:
    """One worker, two sandboxes."""

    def __init__(self, bench: Workbench, boxes: dict[str, str]) -> None:
        self.bench = bench
        self.boxes = {name: httpx.Client(base_url=url, timeout=10) for name, url in boxes.items()}

    def close(self) -> None:
        for box in self.boxes.values():
            box.close()

    def faults(self, name: str, **changes: Any) -> None:
        self.boxes[name].post("/sandbox/faults", json=changes).raise_for_status()

    def add(self, count: int = 1, **options: Any) -> list[str]:
        """Jobs of names that no other test has, since the sandboxes are shared."""
        names = [f"job_{next(_numbers)}" for _ in range(count)]
        for name in names:
            self.bench.add(name, **options)
        return names

    def accepted(self, name: str) -> list[str]:
        """The attempts of this test's jobs that the API says it was paid for."""
        entries = self.boxes[name].get("/sandbox/ledger").json()["accepted"]
        tokens = [entry["token"] for entry in entries]
        return sorted(token for token in tokens if self.bench.store.find(token.partition("/")[0]))

    def turn(self) -> None:
        """What beat and the wake-ups would do."""
        dispatch(self.bench.context)
        while self.bench.wakeups.submits:
            submit(self.bench.context, self.bench.wakeups.submits.pop())
        sweep(self.bench.context)
        for job_id in self.bench.wakeups.collects():
            collect(self.bench.context, job_id)

    def work_until(self, status: Status, *job_ids: str) -> list[Job]:
        def done() -> bool:
            self.turn()
            return all(self.bench.store.get(job_id).status is status for job_id in job_ids)

        wait_for(done, lambda: str([self.bench.history(job_id) for job_id in job_ids]))
        return [self.bench.store.get(job_id) for job_id in job_ids]

    def went_to(self, *job_ids: str) -> set[str]:
        return {self.bench.store.get(job_id).upstream for job_id in job_ids}


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("boxes")
    quick = ("--personality", "plus", "--speed", "100", "--task-seconds", "5", "10")
    (folder / ONE).mkdir()
    (folder / TWO).mkdir()
    with Sandbox(folder / ONE, *quick) as one, Sandbox(folder / TWO, *quick) as two:
        yield {ONE: one.url, TWO: two.url}


@pytest.fixture
def pair(redis_url: str, keys: Keys, tmp_path: Path, boxes: dict[str, str]) -> Iterator[Pair]:
    made = open_pair(redis_url, keys, tmp_path, boxes)
    yield made
    for box in made.boxes.values():
        box.delete("/sandbox/faults").raise_for_status()
    made.bench.sandbox.close()
    made.bench.context.close()
    made.close()


def open_pair(redis_url: str, keys: Keys, folder: Path, boxes: dict[str, str], **terms: dict[str, Any]) -> Pair:
    listed = [{"name": name, "url": url} | terms.get(name, {}) for name, url in boxes.items()]
    return Pair(open_workbench(redis_url, keys, folder / "blendq", boxes[ONE], upstreams=listed, **OURS), boxes)


def reopen(pair: Pair, **changes: Any) -> Workbench:
    """The same jobs under other settings, as after a restart."""
    old = pair.bench.context
    given = {"upstreams": old.settings.upstreams} | OURS | changes
    url = str(old.settings.redis_url)
    made = open_workbench(url, old.store.keys, old.settings.data_dir, str(pair.boxes[ONE].base_url), **given)
    old.close()
    pair.bench.sandbox.close()
    pair.bench = made
    return made


def test_jobs_are_shared_and_each_goes_once(pair: Pair) -> None:
    """I2: one submission a job, wherever it went; each API is asked about its own."""
    names = pair.add(12)
    pair.work_until(Status.SUCCEEDED, *names)
    assert pair.went_to(*names) == {ONE, TWO}
    paid = {name: pair.accepted(name) for name in (ONE, TWO)}
    assert sorted([*paid[ONE], *paid[TWO]]) == sorted(f"{name}/1" for name in names)
    for name in names:
        assert f"{name}/1" in paid[pair.bench.store.get(name).upstream]
    assert pair.bench.store.throttle.slots_held() == 0
    told = {one.name: one.door.answers["accepted"] + one.door.answers.get("queued", 0) for one in _reports(pair)}
    assert told == {ONE: len(paid[ONE]), TWO: len(paid[TWO])}


@pytest.mark.parametrize("fault", ["refuse_key", "quota"])
def test_what_one_refuses_goes_to_the_other(pair: Pair, fault: str) -> None:
    pair.faults(ONE, **{fault: True})
    names = pair.add(8)
    pair.work_until(Status.SUCCEEDED, *names)
    assert (pair.accepted(ONE), len(pair.accepted(TWO))) == ([], 8)
    assert [one.pause is not None for one in _reports(pair)] == [True, False]
    pair.faults(ONE, **{fault: False})
    pair.bench.store.circuit.resume(ONE)
    names = pair.add(6)
    pair.work_until(Status.SUCCEEDED, *names)
    assert ONE in pair.went_to(*names)


def test_an_api_that_does_not_answer_holds_up_no_questions_to_the_other(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I7: without callbacks every end is found by asking. Within one sweep, and in those that come meanwhile."""
    context, store = pair.bench.context, pair.bench.store
    names = pair.add(6)
    dispatch(context)
    while pair.bench.wakeups.submits:
        submit(context, pair.bench.wakeups.submits.pop())
    jobs = [store.get(name) for name in names]
    theirs, ask_two = [job.id for job in jobs if job.upstream == TWO], context.proxies.of(TWO).list_by_ids
    asked, over = threading.Event(), threading.Event()

    def says_nothing(_: object) -> CannotTell:
        over.wait(DEADLINE_SECONDS)
        return CannotTell("no answer", answered=False)

    def answers(ids: Sequence[str]) -> object:
        asked.set()
        return ask_two(ids)

    monkeypatch.setattr(context.proxies.of(ONE), "list_by_ids", says_nothing)
    monkeypatch.setattr(context.proxies.of(TWO), "list_by_ids", answers)
    wait_for(lambda: store.now() > max(job.due_at or store.now() for job in jobs), str)
    asker = threading.Thread(target=sweep, args=(context,))
    asker.start()
    try:
        assert asked.wait(DEADLINE_SECONDS / 2), "the same sweep asks the other"
        pair.work_until(Status.SUCCEEDED, *theirs)
        assert asker.is_alive(), "it waits for the answer of the first"
        assert len(theirs) < len(names)
    finally:
        over.set()
        asker.join()


def test_what_may_have_been_accepted_is_looked_for_where_it_was_sent(pair: Pair) -> None:
    """I2: the answers are lost after the last byte. The task is found by its state, and nobody else gets the job."""
    pair.faults(ONE, lose_answer=1.0)
    names = pair.add(6)
    jobs = pair.work_until(Status.SUCCEEDED, *names)
    assert all(job.claims == 1 for job in jobs)
    assert len(pair.accepted(ONE)) + len(pair.accepted(TWO)) == 6
    assert pair.accepted(ONE)


def test_an_api_that_is_away_leaves_its_jobs_to_the_other(pair: Pair, boxes: dict[str, str]) -> None:
    """Nobody listens there: nothing was sent."""
    gone = [{"name": ONE, "url": "http://127.0.0.1:9"}, {"name": TWO, "url": boxes[TWO]}]
    reopen(pair, upstreams=gone)
    names = pair.add(6)
    pair.work_until(Status.SUCCEEDED, *names)
    assert len(pair.accepted(TWO)) == 6
    one, two = _reports(pair)
    assert (one.door.flow.trouble > 0, two.door.flow.trouble) == (True, 0)


def test_a_follow_up_goes_where_its_parent_is_and_holds_up_nobody(pair: Pair) -> None:
    parents = pair.work_until(Status.SUCCEEDED, *pair.add(6))
    parent = next(job for job in parents if job.upstream == TWO)
    pair.bench.store.circuit.pause("quota", "empty", 60, TWO)
    (child,) = pair.bench.store.apply(parent.id, Act((Action.U1,))).after.follow_ups
    others = pair.add(4)
    pair.work_until(Status.SUCCEEDED, *others)
    waiting = pair.bench.store.get(child)
    assert (waiting.status, waiting.claims, pair.went_to(*others)) == (Status.WAITING, 0, {ONE})
    pair.bench.store.circuit.resume(TWO)
    (job,) = pair.work_until(Status.SUCCEEDED, child)
    assert (job.upstream, f"{child}/1" in pair.accepted(TWO)) == (TWO, True)


def test_a_job_goes_where_its_mode_is_served_by_a_door_of_its_own(
    redis_url: str, keys: Keys, tmp_path: Path, boxes: dict[str, str]
) -> None:
    pair = open_pair(redis_url, keys, tmp_path, boxes, two={"modes": ["RELAX"]})
    try:
        relaxed, fast, any_ = pair.add(3, modes=[Mode.RELAX]), pair.add(3, modes=[Mode.FAST]), pair.add(2)
        pair.work_until(Status.SUCCEEDED, *relaxed, *fast, *any_)
        doors = {name: pair.bench.store.get(name).door for name in (*relaxed, *fast)}
        assert {doors[name] for name in fast} == {f"{ONE}/FAST"}
        assert {doors[name] for name in relaxed} <= {f"{ONE}/RELAX", TWO}
        one, _ = _reports(pair)
        assert [upstream_of(door.name) for door in one.others] == [ONE] * len(one.others) != []
    finally:
        pair.bench.sandbox.close()
        pair.bench.context.close()
        pair.close()


def test_a_number_that_is_set_counts_what_went_by_other_doors_before(pair: Pair) -> None:
    """Explicit limits win, also over the jobs that were under way when the worker was started again with one."""
    busy = pair.add(3, upstream=TWO, modes=(Mode.FAST,))
    assert dispatch(pair.bench.context) == 3
    assert {pair.bench.store.get(job_id).door for job_id in busy} == {f"{TWO}/FAST"}
    listed = [{"name": TWO, "url": str(pair.boxes[TWO].base_url), "slots": 4}]
    reopen(pair, upstreams=listed)
    later = pair.add(3, upstream=TWO)
    assert dispatch(pair.bench.context) == 1, "three of four are held"
    (waits, *_) = [job for job in map(pair.bench.store.get, later) if job.status is Status.WAITING]
    why = why_waiting(pair.bench.store, pair.bench.context.settings, waits)
    assert why
    assert [(one.held, one.slots, one.free) for one in why.rooms] == [(4, 4, 0)]
    pair.bench.store.apply(busy[0], Cancel())
    assert dispatch(pair.bench.context) == 1


def test_a_job_goes_to_the_upstream_that_it_names(pair: Pair) -> None:
    """Though it has fewer slots for its weight than the other all the time."""
    names = pair.add(5, upstream=TWO)
    pair.work_until(Status.SUCCEEDED, *names)
    assert (pair.went_to(*names), pair.accepted(ONE)) == ({TWO}, [])
    assert {pair.bench.store.get(name).door for name in names} == {TWO}, "its slots are those of all who go there"


def test_jobs_of_an_upstream_that_is_no_longer_named_wait_and_are_told(pair: Pair) -> None:
    """Nothing is lost. Named again, it is asked again; else they are parked when their time is up."""
    both = pair.bench.context.settings.upstreams
    names = pair.add(6)
    dispatch(pair.bench.context)
    while pair.bench.wakeups.submits:
        submit(pair.bench.context, pair.bench.wakeups.submits.pop())
    there = [name for name in names if pair.bench.store.get(name).upstream == TWO]
    reopen(pair, upstreams=both[:1])
    pair.work_until(Status.SUCCEEDED, *(name for name in names if name not in there))
    assert not any(pair.bench.store.get(name).status.final for name in there)
    assert [(one.name, one.stray, one.door.seen.held) for one in _reports(pair)][1] == (TWO, True, len(there))
    reopen(pair, upstreams=both)
    pair.work_until(Status.SUCCEEDED, *there)


def test_what_nobody_can_ask_about_is_parked_when_its_time_is_up(pair: Pair) -> None:
    both = pair.bench.context.settings.upstreams
    reopen(pair, upstreams=both[1:])
    (name,) = pair.add()
    dispatch(pair.bench.context)
    submit(pair.bench.context, name)
    reopen(pair, upstreams=both[:1], task_limit_seconds=0.001)
    (job,) = pair.work_until(Status.PARKED, name)
    assert job.reason is not None
    assert (job.reason.kind, "upstream two" in job.reason.message) == ("silent", True)


def _reports(pair: Pair) -> list[UpstreamReport]:
    return reports(pair.bench.store, pair.bench.context.settings)

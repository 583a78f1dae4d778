"""The store on a real server: guarded writes, places, slots and counts that cannot drift."""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from jobs import events, server
from jobs.actions import Action
from jobs.attempt import TaskStatus
from jobs.doors import DEFAULT
from jobs.errors import JobNotFound, StoreUnavailable
from jobs.events import AnswerKind, Event
from jobs.follow_ups import follow_up_id
from jobs.job import Job, Status
from jobs.keys import Keys
from jobs.policy import Policy
from jobs.request import Mode
from jobs.server import connect, to_ms, to_text
from jobs.slots.plan import Plan, next_in_turn
from jobs.store import Applied, BudgetSpent, JobStore, NoSlot
from jobs.writing.tallies import tally
from tests.integration.workbench import under_way
from tests.unit.lifecycle_world import PICTURE, events_for, new_job, wanting_job


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    client = connect(redis_url)
    yield client
    client.close()


@pytest.fixture
def store(client: redis.Redis, keys: Keys) -> JobStore:
    return JobStore(client, Policy(), keys)


def add(store: JobStore, job_id: str = "job_1", **fields: Any) -> Job:
    now = store.now()
    job = new_job(id=job_id, created_at=now, due_at=now, order=store.next_orders(1), **fields)
    assert store.create([job]) == [True]
    return job


def wait_for_the_next_millisecond(store: JobStore) -> None:
    """Times are kept in milliseconds: what comes within one has no order."""
    began = to_ms(store.now())
    while to_ms(store.now()) == began:
        pass


def happen(store: JobStore, job_id: str, *happened: Event) -> Job:
    for event in happened:
        store.apply(job_id, event)
    return store.get(job_id)


UPLOADED = (events.Release(), events.Claim("w1"), events.Commit(1))


def ready(store: JobStore, count: int) -> list[str]:
    queues = dict.fromkeys(store.turns.queues(), count)
    return [turn.job_id for turn in next_in_turn(store.turns.contenders(queues), count, lambda _: DEFAULT)]


def accepted(task_id: str) -> Event:
    return events.Answer(1, AnswerKind.ACCEPTED, task_id, None, 1)


def with_follow_ups(store: JobStore, job_ids: Sequence[str]) -> list[Job]:
    """The jobs, and whatever follows them."""
    jobs = [store.get(job_id) for job_id in job_ids]
    return [one for job in jobs for one in (job, *with_follow_ups(store, job.follow_ups))]


def assert_consistent(store: JobStore, client: redis.Redis, job_ids: list[str]) -> None:
    """Every index says what the records say."""
    jobs = with_follow_ups(store, job_ids)
    counts: Counter[str] = Counter()
    for job in jobs:
        counts.update(tally(job))
        for status in Status:
            for place in store.keys.places(status, job.campaign):
                standing = client.zscore(place, job.id) is not None
                assert standing <= (place in store.keys.places(job.status, job.campaign)), f"{job.id} in {place}"
        places = [client.zscore(place, job.id) for place in store.keys.places(job.status, job.campaign)]
        found = sum(score is not None for score in places)
        assert found == (job.status not in (Status.SUCCEEDED, Status.CANCELLED)), f"{job.id} {job.status}"
        for door in ("default", "spare"):
            holds = job.status.holds_slot and job.door == door
            assert bool(client.sismember(store.keys.door(door).slots, job.id)) == holds, f"{job.status} at {door}"
    for door in ("default", "spare"):
        there = [job for job in jobs if job.door == door]
        _, seen = store.throttle.read(door)
        told = (seen.held, seen.on_the_way, seen.unsure, seen.working, seen.waiting)
        on_the_way = (Status.RELEASED, Status.SUBMITTING, Status.COMMITTED)
        assert told == (
            sum(job.status.holds_slot for job in there),
            sum(job.status in on_the_way for job in there),
            sum(job.status is Status.UNSURE for job in there),
            sum(job.working for job in there),
            sum(job.waiting_there for job in there),
        ), door
    assert store.counts() == dict(counts)
    assert store.counts("default") == dict(counts)


def test_a_job_is_created_once(store: JobStore) -> None:
    job = add(store)
    assert store.create([job.but(order=99)]) == [False]
    assert store.get(job.id) == job
    assert store.counts("default") == {"waiting": 1}


def test_jobs_that_are_enqueued_together_stand_in_queues_by_what_they_ask(store: JobStore) -> None:
    """In one step, in whatever order; a repeated call finds them all."""
    now = store.now()
    asked: list[dict[str, Any]] = [{"modes": (Mode.FAST,)}, {}, {"modes": (Mode.RELAX,)}, {"modes": (Mode.FAST,)}]
    request = new_job().request
    jobs = [
        new_job(id=f"job_{number}", request=request.model_copy(update=one), created_at=now, due_at=now, order=number)
        for number, one in enumerate(asked)
    ]
    assert store.create(jobs[:2]) == [True, True]
    assert store.create(jobs) == [False, False, True, True]
    queues = dict.fromkeys(store.turns.queues(), 9)
    assert {str(queue) for queue in queues} == {"default", "default:|FAST|", "default:|RELAX|"}
    (campaign,) = store.turns.contenders(queues)
    assert [(job.job_id, job.pin) for job in campaign.ready] == [
        ("job_0", "|FAST|"),
        ("job_1", ""),
        ("job_2", "|RELAX|"),
        ("job_3", "|FAST|"),
    ]
    assert (store.counts()["waiting"], len(list(store.campaign_jobs("default")))) == (4, 4)
    store.apply("job_0", events.Release("b/FAST"))
    (campaign,) = store.turns.contenders(queues)
    assert [job.job_id for job in campaign.ready] == ["job_1", "job_2", "job_3"]


def test_each_api_numbers_its_own_tasks(store: JobStore) -> None:
    """I5: the same id at two of them is two tasks; at one of them it is a conflict, which parks both."""
    add(store, "job_1")
    add(store, "job_2")
    add(store, "job_3")
    for name, door in (("job_1", "default"), ("job_2", "spare/FAST"), ("job_3", "spare")):
        happen(store, name, events.Release(door), events.Claim("w"), events.Commit(1))
    assert happen(store, "job_1", accepted("7")).status is Status.ACCEPTED
    assert happen(store, "job_2", accepted("7")).status is Status.ACCEPTED
    assert happen(store, "job_3", accepted("7")).status is Status.PARKED
    assert [store.get(name).status for name in ("job_1", "job_2")] == [Status.ACCEPTED, Status.PARKED]


def test_the_same_job_may_have_the_same_id_at_two_apis(store: JobStore) -> None:
    """I2, I5: it was paid for twice then, by a person's order; and both claims are its own."""
    add(store, "job_1")
    add(store, "job_2")
    ended = (accepted("7"), events.TaskSeen(1, "7", TaskStatus.FAILURE), events.Retry())
    happen(store, "job_1", *UPLOADED, *ended, events.Release("spare"), events.Claim("w"), events.Commit(2))
    job = happen(store, "job_1", events.Answer(2, AnswerKind.ACCEPTED, "7", None, 1))
    assert (job.status, job.submissions) == (Status.ACCEPTED, 2)
    happen(store, "job_2", events.Release("spare"), events.Claim("w"), events.Commit(1), accepted("7"))
    assert store.get("job_1").status is Status.PARKED


def test_an_unknown_job_is_told(store: JobStore) -> None:
    assert store.find("job_none") is None
    for call in (store.get, store.history, lambda job_id: store.apply(job_id, events.Release())):
        with pytest.raises(JobNotFound, match="job_none"):
            call("job_none")


def test_history_is_written_with_every_change(store: JobStore) -> None:
    add(store)
    happen(store, "job_1", *UPLOADED, events.Commit(1), accepted("t1"))
    assert [entry.event for entry in store.history("job_1")] == ["enqueue", "release", "claim", "commit", "answer"]
    assert [entry.after for entry in store.history("job_1")][-1] is Status.ACCEPTED


def test_one_of_many_claims_wins(store: JobStore) -> None:
    """I2: the wake-up was delivered to eight workers at once."""
    add(store)
    store.apply("job_1", events.Release())
    won: list[bool] = []
    start = threading.Barrier(8)

    def claim(worker: str) -> None:
        start.wait()
        won.append(store.apply("job_1", events.Claim(worker)).changed)

    threads = [threading.Thread(target=claim, args=(f"w{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won.count(True) == 1
    assert store.get("job_1").claims == 1


def test_a_commit_under_a_lost_lease_fails(store: JobStore) -> None:
    """I3, on the real server: the second worker's claim stands, the first one's commit does nothing."""
    add(store)
    happen(store, "job_1", events.Release(), events.Claim("slow"))
    happen(store, "job_1", events.Cancel(), events.Retry(), events.Release(), events.Claim("quick"))
    assert not store.apply("job_1", events.Commit(1)).changed
    assert store.apply("job_1", events.Commit(2)).changed


class CutReplies:
    """Lets a script run, and loses its reply the first `times` times."""

    def __init__(self, script: Any, times: int) -> None:
        self.script, self.times = script, times

    def __call__(self, **call: Any) -> Any:
        return self._back(lambda: self.script(**call))

    def begin(self, *call: Any) -> Callable[[], Any]:
        return partial(self._back, self.script.begin(*call))

    def _back(self, read: Callable[[], Any]) -> Any:
        answer = read()
        if self.times:
            self.times -= 1
            raise redis.ConnectionError("cut")
        return answer


def test_a_lost_reply_counts_as_won(store: JobStore) -> None:
    add(store)
    store.apply("job_1", events.Release())
    store._save_script = CutReplies(store._save_script, 1)  # type: ignore[assignment]
    assert store.apply("job_1", events.Claim("w1")).changed
    assert store.get("job_1").claims == 1
    assert len(store.history("job_1")) == 3
    assert store.counts() == {"submitting": 1}


def happens_before_it_is_repeated(store: JobStore, monkeypatch: pytest.MonkeyPatch, *happened: Event) -> None:
    """The reply of the next write is lost, and this happens to the job before it is asked for again."""
    meanwhile = list(happened)
    script = store._save_script

    def lose_the_reply(**named: Any) -> Any:
        answer = script(**named)
        if meanwhile:
            todo = meanwhile[:]
            meanwhile.clear()
            happen(store, "job_1", *todo)
            raise redis.ConnectionError("the reply was lost")
        return answer

    monkeypatch.setattr(store, "_save_script", lose_the_reply)


def test_an_order_to_retry_whose_reply_was_lost_is_one_order(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """I2: before it is asked for again, the job is sent, and has failed once more. A second order would pay."""
    add(store)
    happen(store, "job_1", *UPLOADED, events.Answer(1, AnswerKind.MODERATED, code=24))
    failed = events.Answer(2, AnswerKind.MODERATED, code=24)
    happens_before_it_is_repeated(store, monkeypatch, events.Release(), events.Claim("w2"), events.Commit(2), failed)
    store.apply("job_1", events.Retry())
    assert (store.get("job_1").status, store.get("job_1").claims) == (Status.FAILED, 2)


def test_a_lost_reply_of_create_creates_nothing_twice(store: JobStore) -> None:
    store._create_script = CutReplies(store._create_script, 1)  # type: ignore[assignment]
    now = store.now()
    assert store.create([new_job(created_at=now, due_at=now)]) == [False], "the repeated call finds its own job"
    assert store.counts() == {"waiting": 1}


@pytest.mark.parametrize("trouble", ["answer lost", "server restarted"])
def test_what_was_begun_is_created_whatever_happens(store: JobStore, client: redis.Redis, trouble: str) -> None:
    """I1: and the connection is free again; an answer that was never read would be taken for that of the next call."""
    job = new_job(created_at=store.now(), due_at=store.now())
    if trouble == "server restarted":
        client.script_flush()  # it knows no script any more
    ended = store.begin(store.creation([job], None))
    if trouble == "answer lost":
        under_way(client).pop().disconnect()
    assert ended() == [trouble == "server restarted"], "a repeated call finds its own job"
    assert (store.get(job.id), store.counts(), under_way(client)) == (job, {"waiting": 1}, set())


def test_slots_are_never_exceeded(store: JobStore) -> None:
    for number in range(3):
        add(store, f"job_{number}")
    store.apply("job_0", events.Release(slots=2))
    store.apply("job_1", events.Release(slots=2))
    with pytest.raises(NoSlot):
        store.apply("job_2", events.Release(slots=2))
    assert (store.get("job_2").status, store.throttle.slots_held()) == (Status.WAITING, 2)
    store.apply("job_0", events.Cancel())
    assert store.apply("job_2", events.Release(slots=2)).changed


def test_two_jobs_with_one_task_are_both_parked(store: JobStore) -> None:
    """I5: the API handed one task id out twice."""
    for job_id in ("job_1", "job_2"):
        add(store, job_id)
        happen(store, job_id, *UPLOADED)
    store.apply("job_1", accepted("t1"))
    outcome = store.apply("job_2", accepted("t1"))
    assert outcome.after.status is Status.PARKED
    for job_id, other in (("job_1", "job_2"), ("job_2", "job_1")):
        job = store.get(job_id)
        assert job.reason is not None
        assert (job.status, job.reason.kind) == (Status.PARKED, "conflict")
        assert other in job.reason.message


# Many at once --------------------------------------------------------------------------------------------------------


def upload(store: JobStore, *job_ids: str) -> None:
    for job_id in job_ids:
        add(store, job_id)
        happen(store, job_id, *UPLOADED)


def running(task_id: str, progress: int) -> Event:
    return events.TaskSeen(1, task_id, TaskStatus.IN_PROGRESS, progress)


def test_many_events_share_one_read_and_one_write(store: JobStore, client: redis.Redis) -> None:
    names = [f"job_{number}" for number in range(10)]
    upload(store, *names)
    before = commands(client)
    outcomes = store.apply_many([(name, running(f"task of {name}", 10)) for name in names])
    after = commands(client)
    assert [isinstance(outcome, Applied) and outcome.changed for outcome in outcomes] == [True] * 10
    assert (after["evalsha"] - before["evalsha"], after["time"] - before["time"]) == (1, 1)
    assert_consistent(store, client, names)


def commands(client: redis.Redis) -> dict[str, int]:
    """How often the server was asked for what."""
    found: Any = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): each["calls"] for name, each in found.items()}


def test_events_of_one_job_happen_in_order(store: JobStore, client: redis.Redis) -> None:
    """Each on the record that the last one left, and those of other jobs between them."""
    upload(store, "job_1", "job_2")
    happened = [("job_1", running("t1", percent)) for percent in range(1, 61)]
    outcomes = store.apply_many([*happened[:30], ("job_2", running("t2", 5)), *happened[30:]])
    assert all(isinstance(outcome, Applied) and outcome.changed for outcome in outcomes)
    assert [entry.detail for entry in store.history("job_1")][-60:] == [
        f"poll: IN_PROGRESS {percent}%" for percent in range(1, 61)
    ]
    assert_consistent(store, client, ["job_1", "job_2"])


def test_one_that_fails_holds_up_none_of_the_others(store: JobStore, client: redis.Redis) -> None:
    """Unknown, unreadable, or of a kind that the server refuses: that one is told, the others are written."""
    names = ["job_1", "job_2", "job_3", "job_4"]
    upload(store, *names)
    client.hset(store.keys.job("job_2"), "doc", "{")
    client.delete(store.keys.history("job_3"))
    client.set(store.keys.history("job_3"), "no list")
    happened = [(name, running(f"task of {name}", 10)) for name in (*names, "job_none")]
    outcomes = store.apply_many(happened)
    assert [type(outcome) for outcome in outcomes] == [
        Applied,
        ValidationError,
        redis.ResponseError,
        Applied,
        JobNotFound,
    ]
    assert [len(store.history(name)) for name in ("job_1", "job_4")] == [5, 5], "and written once"


def test_two_jobs_of_one_batch_with_one_task_are_both_parked(store: JobStore, client: redis.Redis) -> None:
    """I5"""
    upload(store, "job_1", "job_2", "job_3")
    store.apply_many([("job_1", running("t1", 5)), ("job_2", running("t1", 5)), ("job_3", running("t3", 5))])
    assert [store.get(name).status for name in ("job_1", "job_2", "job_3")] == [
        Status.PARKED,
        Status.PARKED,
        Status.RUNNING,
    ]
    assert_consistent(store, client, ["job_1", "job_2", "job_3"])


def test_a_lost_reply_of_a_batch_counts_as_won_for_each(store: JobStore, client: redis.Redis) -> None:
    names = ["job_1", "job_2", "job_3"]
    upload(store, *names)
    store._save_script = CutReplies(store._save_script, 1)  # type: ignore[assignment]
    outcomes = store.apply_many([(name, running(f"task of {name}", 10)) for name in names])
    assert all(isinstance(outcome, Applied) and outcome.changed for outcome in outcomes)
    assert [len(store.history(name)) for name in names] == [5, 5, 5]
    assert_consistent(store, client, names)


def test_only_those_that_were_overtaken_are_decided_again(store: JobStore, client: redis.Redis) -> None:
    names = ["job_1", "job_2", "job_3"]
    upload(store, *names)
    load, overtakers = store._load, [lambda: store.apply("job_2", events.Cancel())]
    asked: list[list[str]] = []

    def overtaken(job_ids: Sequence[str]) -> Any:
        found = load(job_ids)
        asked.append(list(job_ids))
        if overtakers:
            overtakers.pop()()
        return found

    store._load = overtaken  # type: ignore[method-assign]
    store.apply_many([(name, running(f"task of {name}", 10)) for name in names])
    assert asked == [names, ["job_2"], ["job_2"]]  # the second is the other writer's
    assert store.get("job_2").cancel_requested
    assert {store.get(name).status for name in names} == {Status.RUNNING}
    assert_consistent(store, client, names)


def test_a_server_that_takes_no_writes_is_told_to_each(store: JobStore, client: redis.Redis) -> None:
    upload(store, "job_1", "job_2")
    client.config_set("maxmemory", 1)
    try:
        outcomes = store.apply_many([(name, running(f"task of {name}", 10)) for name in ("job_1", "job_2")])
    finally:
        client.config_set("maxmemory", 0)
    assert [(type(outcome), "OOM" in str(outcome)) for outcome in outcomes] == [(StoreUnavailable, True)] * 2
    assert {store.get(name).status for name in ("job_1", "job_2")} == {Status.COMMITTED}


def test_a_server_that_is_gone_is_told_to_each(tmp_path: Path) -> None:
    store = JobStore(connect(f"unix://{tmp_path}/none.sock"), Policy())
    outcomes = store.apply_many([("job_1", events.Release()), ("job_2", events.Release())])
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable, StoreUnavailable]


def test_ready_jobs_go_by_priority_then_age(store: JobStore) -> None:
    for job_id, priority in (("old", 0), ("young", 0), ("express", 9)):
        job = new_job()
        add(store, job_id, request=job.request.model_copy(update={"priority": priority}))
    assert ready(store, 10) == ["express", "old", "young"]
    assert ready(store, 0) == []


def test_a_paused_campaign_waits_and_the_others_go_on(store: JobStore) -> None:
    add(store, "job_1", campaign="a")
    add(store, "job_2", campaign="b")
    assert (store.turns.pause("a", "person", "later"), store.turns.pause("a", "budget", "spent")) == (True, False)
    paused = store.turns.paused("a")
    assert paused is not None
    assert (paused.kind, paused.message, ready(store, 5)) == ("person", "later", ["job_2"])
    assert (store.turns.resume("a"), store.turns.resume("a"), store.turns.paused("a")) == (True, False, None)
    assert ready(store, 5) == ["job_1", "job_2"]


def test_a_campaign_without_ready_jobs_is_no_contender_until_it_has_one_again(client: redis.Redis, keys: Keys) -> None:
    store = JobStore(client, Policy(backoff_base_seconds=0.001, backoff_cap_seconds=0.002), keys)
    add(store)
    store.apply("job_1", events.Release())
    assert (ready(store, 1), client.smembers(keys.contenders)) == ([], set())
    happen(store, "job_1", events.Claim("w"), events.Answer(1, AnswerKind.NOT_SENT))
    client.zadd(keys.later, {"job_1": 0})  # as if its backoff had passed
    assert store.ask_all(store.gate.dispatch_begins()) == [(None, True)]
    assert (store.gate.ripen(), ready(store, 1)) == (1, ["job_1"])


def test_a_budget_is_never_exceeded_however_many_dispatch_at_once(store: JobStore) -> None:
    for number in range(6):
        add(store, f"job_{number}", campaign="a")
    store.turns.keep_plan("a", Plan(max_submissions=3))
    assert store.turns.plan("a") == Plan(max_submissions=3)
    assert len(ready(store, 6)) == 3
    refused: list[str] = []
    start = threading.Barrier(6)

    def release(job_id: str) -> None:
        start.wait()
        try:
            store.apply(job_id, events.Release(budget=3))
        except BudgetSpent:
            refused.append(job_id)

    threads = [threading.Thread(target=release, args=(f"job_{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(refused), store.counts("a")) == (3, {"waiting": 3, "released": 3})
    assert ready(store, 6) == []


def test_jobs_that_are_released_together_share_a_budget(store: JobStore) -> None:
    for number in range(4):
        add(store, f"job_{number}", campaign="a")
    outcomes = store.apply_many([(f"job_{number}", events.Release(budget=2)) for number in range(4)])
    assert [isinstance(one, BudgetSpent) for one in outcomes] == [False, False, True, True]
    assert store.counts("a") == store.counts() == {"waiting": 2, "released": 2}


def test_what_happens_to_jobs_together_is_counted_once_for_all(store: JobStore, client: redis.Redis) -> None:
    for number in range(50):
        add(store, f"job_{number}", campaign="a")
    release = [(f"job_{number}", events.Release()) for number in range(50)]
    before = client.info("commandstats")["cmdstat_hincrby"]["calls"]
    store.apply_many(release)
    assert client.info("commandstats")["cmdstat_hincrby"]["calls"] - before == 4  # waiting, released: twice
    assert store.counts("a") == store.counts() == {"released": 50}


def test_what_may_have_been_paid_for_counts_against_the_budget(store: JobStore) -> None:
    for number in range(2):
        add(store, f"job_{number}", campaign="a")
    happen(store, "job_0", *UPLOADED, events.NoAnswer(1, "reset"))
    assert store.counts("a")["uncertain"] == 1
    with pytest.raises(BudgetSpent):
        store.apply("job_1", events.Release(budget=1))
    happen(store, "job_0", events.Answer(1, AnswerKind.NO_ROOM, code=23))
    assert store.apply("job_1", events.Release(budget=1)).changed


def test_a_backed_off_job_becomes_ready_when_it_is_due(client: redis.Redis, keys: Keys) -> None:
    store = JobStore(client, Policy(backoff_base_seconds=0.001, backoff_cap_seconds=0.002), keys)
    add(store)
    happen(store, "job_1", *UPLOADED, events.Answer(1, AnswerKind.NO_ROOM, code=23, retry_after_seconds=60))
    assert (ready(store, 1), store.gate.ripen()) == ([], 0)
    assert store.ask_all(store.gate.dispatch_begins()) == [(None, False)]
    client.zadd(keys.later, {"job_1": 0})  # as if the minute had passed
    assert store.ask_all(store.gate.dispatch_begins()) == [(None, True)]
    assert (store.gate.ripen(), ready(store, 1)) == (1, ["job_1"])


def test_due_jobs_are_taken_by_one_sweeper_only(store: JobStore, client: redis.Redis) -> None:
    for number in range(4):
        add(store, f"job_{number}")
        happen(store, f"job_{number}", *UPLOADED, accepted(f"t{number}"))
        client.zadd(store.keys.at(Status.ACCEPTED), {f"job_{number}": number})
    first = store.take_due(Status.ACCEPTED, 3, hold_seconds=60)
    second = store.take_due(Status.ACCEPTED, 3, hold_seconds=60)
    assert (first, second) == (["job_0", "job_1", "job_2"], ["job_3"])


def test_a_renewed_lease_is_not_due(store: JobStore, client: redis.Redis) -> None:
    add(store)
    happen(store, "job_1", events.Release(), events.Claim("w1"))
    place = store.keys.at(Status.SUBMITTING)
    client.zadd(place, {"job_1": 0})
    held = [(Status.SUBMITTING, "job_1"), (Status.COMMITTED, "job_1")]
    store.extend_leases(held, 30)
    assert store.take_due(Status.SUBMITTING, 1, hold_seconds=1) == []
    store.apply("job_1", events.Cancel())
    store.extend_leases(held, 30)
    assert client.zscore(store.keys.at(Status.COMMITTED), "job_1") is None
    assert client.zscore(place, "job_1") is None, "a lease that is lost cannot be renewed"


def reads(client: redis.Redis, what: Callable[[], object]) -> int:
    """How many records are read for it outside of scripts: each comes with the time."""
    told: list[str] = []
    with client.monitor() as monitor:  # type: ignore[no-untyped-call]
        client.ping()
        what()
        client.echo("over")
        for heard in monitor.listen():
            if heard["command"].startswith("ECHO"):
                return sum(one.startswith("HMGET") for one in told)
            if heard["client_type"] != "lua":
                told.append(heard["command"])
    raise AssertionError("unreachable")


def test_a_record_that_is_known_is_not_read(store: JobStore, client: redis.Redis) -> None:
    add(store)
    released = store.apply("job_1", events.Release())
    claimed: list[Applied] = []
    known = released.known
    assert reads(client, lambda: claimed.append(store.apply("job_1", events.Claim("w1"), known=known))) == 0
    assert claimed[0].after == store.get("job_1")
    assert claimed[0].known == store.read("job_1")
    assert reads(client, lambda: store.apply("job_1", events.Commit(1))) == 1


@pytest.mark.parametrize("meanwhile", [(), (events.Cancel(),), (events.Cancel(), events.Retry(), events.Release())])
def test_what_is_known_counts_only_while_nobody_has_written(store: JobStore, meanwhile: Sequence[Event]) -> None:
    """I3: decided anew on what is there."""
    add(store)
    claimed = [store.apply("job_1", event) for event in (events.Release(), events.Claim("w1"))][-1]
    expected = happen(store, "job_1", *meanwhile)
    committed = store.apply("job_1", events.Commit(1), known=claimed.known)
    assert committed.changed is not bool(meanwhile)
    assert committed.before == expected
    assert committed.after == store.get("job_1")


def test_what_means_nothing_to_an_old_record_may_mean_something_to_the_newest(store: JobStore) -> None:
    add(store)
    old = store.read("job_1")
    happen(store, "job_1", events.Release())
    assert store.apply("job_1", events.Claim("w1"), known=old).after.status is Status.SUBMITTING


def test_a_known_record_of_a_job_that_is_gone(store: JobStore) -> None:
    add(store)
    known = store.apply("job_1", events.Cancel()).known
    store.delete(["job_1"])
    with pytest.raises(JobNotFound):
        store.apply("job_1", events.Retry(), known=known)


def test_a_known_record_of_a_job_that_was_purged_and_came_again(store: JobStore) -> None:
    """Its version is the same, and yet it is another."""
    add(store)
    known = store.apply("job_1", events.Cancel()).known
    store.delete(["job_1"])
    add(store)
    happen(store, "job_1", events.Release())
    assert known is not None
    assert known.version == store.read("job_1").version
    assert not store.apply("job_1", events.Retry(), known=known).changed
    assert store.get("job_1").status is Status.RELEASED


def test_the_clock_is_read_again_after_a_while_and_never_goes_ahead(
    store: JobStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store)
    released = store.apply("job_1", events.Release())
    clock = store._clock
    assert (guess := clock.now()) is not None
    assert guess <= store.now()
    monkeypatch.setattr(server, "CLOCK_READ_SECONDS", 0.0)
    assert clock.now() is None
    before = clock._read
    assert reads(client, lambda: store.apply("job_1", events.Claim("w1"), known=released.known)) == 0
    assert clock._read != before


def test_dispatch_is_asked_for_once(store: JobStore) -> None:
    assert (store.gate.ask_dispatch(), store.gate.ask_dispatch()) == (True, False)
    store.ask_all(store.gate.dispatch_begins())
    assert store.gate.ask_dispatch()


def test_a_pause_tells_why_and_can_be_lifted(store: JobStore) -> None:
    assert store.circuit.read([DEFAULT])[DEFAULT].pause is None
    store.circuit.pause("key", "401", seconds=60)
    pause = store.circuit.read([DEFAULT])[DEFAULT].pause
    assert pause is not None
    assert (pause.kind, pause.message) == ("key", "401")
    assert store.now() - pause.at < timedelta(seconds=30)
    store.circuit.resume()
    assert store.circuit.read([DEFAULT])[DEFAULT].pause is None


def test_campaigns_are_listed_with_their_jobs_in_order(store: JobStore) -> None:
    for number in range(7):
        add(store, f"job_{number}", campaign="a" if number % 2 else "b")
        wait_for_the_next_millisecond(store)
    assert [name for name, _ in store.campaigns()] == ["b", "a"]
    assert [job.id for job in store.campaign_jobs("b", page=2)] == ["job_0", "job_2", "job_4", "job_6"]
    assert store.counts("a") == {"waiting": 3}


def test_a_server_that_is_gone_is_told_in_plain_words(tmp_path: Path) -> None:
    store = JobStore(connect(f"unix://{tmp_path}/none.sock"), Policy())
    with pytest.raises(StoreUnavailable, match="Redis does not answer"):
        store.counts()
    with pytest.raises(StoreUnavailable):
        store.create([new_job()])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_index_drifts_whatever_happens(data: st.DataObject, client: redis.Redis, keys: Keys) -> None:
    """The tally, the slots and the places always say what the records say."""
    store = JobStore(client, Policy(), Keys(f"{keys.prefix}-{uuid.uuid4().hex}"), random.Random(1))
    names = ["job_1", "job_2", "job_3"]
    for name in names:
        add(store, name)
    for _ in range(data.draw(st.integers(1, 25))):
        name = data.draw(st.sampled_from([job.id for job in with_follow_ups(store, names)]))
        store.apply(name, data.draw(st.sampled_from(list(events_for(store.get(name))))))
        assert_consistent(store, client, names)


def test_the_whole_way_leaves_nothing_behind(store: JobStore, client: redis.Redis) -> None:
    add(store)
    seen = events.TaskSeen(1, "t1", TaskStatus.SUCCESS, 100, "http://cdn/1")
    job = happen(store, "job_1", *UPLOADED, accepted("t1"), seen, events.Collected(1, PICTURE))
    assert (job.status, job.picture) == (Status.SUCCEEDED, PICTURE)
    assert store.counts() == {"succeeded": 1, "submissions": 1}
    assert_consistent(store, client, ["job_1"])


# Follow-ups ---------------------------------------------------------------------------------------------------------


def add_wanting(store: JobStore) -> Job:
    return add(store, request=wanting_job(Action.U1).request)


def succeed(store: JobStore, job_id: str = "job_1") -> Job:
    seen = events.TaskSeen(1, f"task of {job_id}", TaskStatus.SUCCESS, 100, "http://cdn/1")
    picture = PICTURE.but(digest=f"sha256:{job_id}")
    return happen(store, job_id, *UPLOADED, seen, events.Collected(1, picture))


def test_follow_ups_are_created_in_the_step_in_which_their_parent_succeeds(
    client: redis.Redis, store: JobStore
) -> None:
    """So a campaign is not finished before they are, and nobody can die in between."""
    store.webhooks.add("https://example.com/hook")
    add_wanting(store)
    parent = succeed(store)
    (child_id,) = parent.follow_ups
    child = store.get(child_id)
    assert (child.status, child.follows and child.follows.job_id) == (Status.WAITING, "job_1")
    assert child.order > parent.order
    assert store.counts("default") == {"succeeded": 1, "submissions": 1, "waiting": 1}
    assert [job.id for job in store.campaign_jobs("default")] == ["job_1", child_id]
    assert [one.job_id for one in store.changes("0-0")][-2:] == [child_id, "job_1"]
    told = {to_text(name) for name in client.hkeys(store.keys.notices)}
    assert not any(name.endswith("_campaign") for name in told)
    assert ready(store, 5) == [child_id]
    succeed(store, child_id)
    told = {to_text(name) for name in client.hkeys(store.keys.notices)}
    assert sum(name.endswith("_campaign") for name in told) == 1


def test_a_follow_up_goes_before_jobs_that_came_after_its_parent(store: JobStore) -> None:
    add_wanting(store)
    add(store, "job_2")
    (child,) = succeed(store).follow_ups
    assert ready(store, 5) == [child, "job_2"]


def test_a_follow_up_that_is_there_already_is_left_alone(store: JobStore) -> None:
    parent = add_wanting(store)
    there = add(store, follow_up_id(parent, Action.U1))
    assert succeed(store).follow_ups == (there.id,)
    assert store.get(there.id) == there
    assert store.counts() == {"succeeded": 1, "submissions": 1, "waiting": 1}


def test_an_order_for_more_whose_reply_was_lost_is_one_order(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """I2: each follow-up is paid for."""
    add(store)
    succeed(store)
    happens_before_it_is_repeated(store, monkeypatch, events.Act((Action.U2,)))
    store.apply("job_1", events.Act((Action.V1,), again=True))
    assert len(store.get("job_1").follow_ups) == 2
    assert store.counts()["waiting"] == 2


def test_many_who_want_the_same_get_one_follow_up(store: JobStore) -> None:
    add(store)
    succeed(store)
    wanted = events.Act((Action.U2, Action.V3))
    threads = [threading.Thread(target=store.apply, args=("job_1", wanted)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.get("job_1").follow_ups) == 2
    assert store.counts()["waiting"] == 2

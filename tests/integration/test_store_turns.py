"""Which jobs go next: queues, turns, budgets, slots and pauses, as they are kept on a real server."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
import redis

from jobs import events
from jobs.applying import BudgetSpent, NoSlot
from jobs.attempt import TaskStatus
from jobs.doors import DEFAULT
from jobs.events import AnswerKind
from jobs.job import Status
from jobs.keys import Keys
from jobs.policy import Policy
from jobs.request import Mode
from jobs.slots.plan import Plan
from jobs.store import JobStore
from tests.integration.stored import UPLOADED, add, happen, ready
from tests.integration.workbench import Open
from tests.unit.lifecycle_world import new_job
from worker.dispatch import dispatch

FAILED_THERE = events.TaskSeen(1, "task-1", TaskStatus.FAILURE, failure="failed")


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


def test_what_may_have_been_paid_for_counts_against_the_budget(store: JobStore) -> None:
    for number in range(2):
        add(store, f"job_{number}", campaign="a")
    happen(store, "job_0", *UPLOADED, events.NoAnswer(1, "reset"))
    assert store.counts("a")["uncertain"] == 1
    with pytest.raises(BudgetSpent):
        store.apply("job_1", events.Release(budget=1))
    happen(store, "job_0", events.Answer(1, AnswerKind.NO_ROOM, code=23))
    assert store.apply("job_1", events.Release(budget=1)).changed


def test_what_was_paid_for_a_purged_job_counts_against_the_budget(store: JobStore) -> None:
    for number in range(3):
        add(store, f"job_{number}", campaign="a")
    happen(store, "job_0", *UPLOADED, events.Answer(1, AnswerKind.ACCEPTED, "task-1"), FAILED_THERE)
    happen(store, "job_1", *UPLOADED, events.NoAnswer(1, "reset"), events.Conflict("job_9", "task t"))
    plan = Plan(max_submissions=2, stop_after_failures=1)
    for purged in ("job_0", "job_1"):
        assert store.delete([purged]) == 1
        with pytest.raises(BudgetSpent):
            store.apply("job_2", events.Release(budget=2))
        why = plan.reason_to_pause(store.turns.counts("a"))
        assert why
        assert why[0] == "budget"
    assert store.counts("a") == {"waiting": 1}, "what is told of the campaign is of the jobs that there are"
    assert store.turns.counts("a")["purged:paid"] == 2
    happen(store, "job_2", events.Cancel())
    store.delete(["job_2"])
    assert store.turns.counts("a") == {}, "a campaign without jobs is forgotten"


def test_a_backed_off_job_becomes_ready_when_it_is_due(client: redis.Redis, keys: Keys) -> None:
    store = JobStore(client, Policy(backoff_base_seconds=0.001, backoff_cap_seconds=0.002), keys)
    add(store)
    happen(store, "job_1", *UPLOADED, events.Answer(1, AnswerKind.NO_ROOM, code=23, retry_after_seconds=60))
    assert (ready(store, 1), store.gate.ripen()) == ([], 0)
    assert store.ask_all(store.gate.dispatch_begins()) == [(None, False)]
    client.zadd(keys.later, {"job_1": 0})  # as if the minute had passed
    assert store.ask_all(store.gate.dispatch_begins()) == [(None, True)]
    assert (store.gate.ripen(), ready(store, 1)) == (1, ["job_1"])


def test_campaigns_take_turns_where_there_are_fewer_slots(open_bench: Open, client: redis.Redis) -> None:
    """Ten jobs are not stuck behind a hundred thousand, also where one goes at a time."""
    bench = open_bench("plus", slots=1)
    for number in range(6):
        add(bench.store, f"old_{number}", campaign="old")
    for number in range(3):
        add(bench.store, f"young_{number}", campaign="young")
    went = []
    for _ in range(6):
        assert dispatch(bench.context) == 1
        went.append(bench.wakeups.submits.pop())
        bench.store.apply(went[-1], events.Cancel())
    assert went == ["old_0", "young_0", "old_1", "young_1", "old_2", "young_2"]
    assert bench.store.delete([job_id for job_id in went if job_id.startswith("young")]) == 3
    assert client.exists(bench.store.keys.campaign_turn("young")) == 0, "it is forgotten with its campaign"
    assert client.exists(bench.store.keys.campaign_turn("old")) == 1


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

"""The store on a real server: guarded writes, claims, leases, lost replies; indexes and counts that cannot drift."""

from __future__ import annotations

import random
import threading
import uuid
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs import events
from jobs.applying import BudgetSpent
from jobs.attempt import TaskStatus
from jobs.errands import COLLECTS
from jobs.errors import JobNotFound, StoreUnavailable
from jobs.events import AnswerKind, Event
from jobs.job import Status
from jobs.keys import Keys
from jobs.policy import Policy
from jobs.server import connect, to_ms
from jobs.store import JobStore
from tests.integration.stored import (
    UPLOADED,
    CutReplies,
    add,
    assert_consistent,
    happen,
    happens_before_it_is_repeated,
    with_follow_ups,
)
from tests.integration.workbench import under_way
from tests.unit.lifecycle_world import PICTURE, events_for, new_job


def wait_for_the_next_millisecond(store: JobStore) -> None:
    """Times are kept in milliseconds: what comes within one has no order."""
    began = to_ms(store.now())
    while to_ms(store.now()) == began:
        pass


def accepted(task_id: str) -> Event:
    return events.Answer(1, AnswerKind.ACCEPTED, task_id, None, 1)


def test_a_job_is_created_once(store: JobStore) -> None:
    job = add(store)
    assert store.create([job.but(order=99)]) == [False]
    assert store.get(job.id) == job
    assert store.counts("default") == {"waiting": 1}


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


def test_a_lost_reply_counts_as_won(store: JobStore) -> None:
    add(store)
    store.apply("job_1", events.Release())
    store.save_script = CutReplies(store.save_script, 1)  # type: ignore[assignment]
    assert store.apply("job_1", events.Claim("w1")).changed
    assert store.get("job_1").claims == 1
    assert len(store.history("job_1")) == 3
    assert store.counts() == {"submitting": 1}


def test_a_picture_to_fetch_stands_in_the_list_once_and_with_its_change(store: JobStore, client: redis.Redis) -> None:
    """Whoever writes it knows an old record, and is refused at first; or hears nothing, and writes it again."""
    known, to_fetch = {}, store.keys.errands(COLLECTS)
    for job_id in ("job_1", "job_2"):
        add(store, job_id)
        happen(store, job_id, events.Release(), events.Claim("w1"))
        known[job_id] = store.apply(job_id, events.Commit(1)).known
    succeeded = {job_id: events.TaskSeen(1, job_id, TaskStatus.SUCCESS, 100, "http://cdn/1") for job_id in known}
    store.apply("job_1", accepted("job_1"))
    assert not client.exists(to_fetch)
    assert store.apply("job_1", succeeded["job_1"], known=known["job_1"]).to_fetch
    store.save_script = CutReplies(store.save_script, 1)  # type: ignore[assignment]
    assert store.apply("job_2", succeeded["job_2"], known=known["job_2"]).to_fetch
    assert not store.apply("job_1", succeeded["job_1"]).to_fetch
    assert client.lrange(to_fetch, 0, -1) == [b"job_1", b"job_2"]


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
    add(store, "job_0")  # from now on the server knows the script, whichever test came first
    job = new_job(created_at=store.now(), due_at=store.now())
    if trouble == "server restarted":
        client.script_flush()  # it knows no script any more
    ended = store.begin(store.creation([job], None))
    if trouble == "answer lost":
        under_way(client).pop().disconnect()
    assert ended() == [trouble == "server restarted"], "a repeated call finds its own job"
    assert (store.get(job.id), store.counts(), under_way(client)) == (job, {"waiting": 2}, set())


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


@pytest.mark.no_cover
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

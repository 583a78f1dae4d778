"""Follow-ups in the store: created in the step in which their parent succeeds, each once."""

from __future__ import annotations

import threading

import pytest
import redis

from jobs import events
from jobs.actions import Action
from jobs.attempt import TaskStatus
from jobs.follow_ups import follow_up_id
from jobs.job import Job, Status
from jobs.server import to_text
from jobs.store import JobStore
from tests.integration.stored import UPLOADED, add, happen, happens_before_it_is_repeated, ready
from tests.unit.lifecycle_world import PICTURE, wanting_job


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

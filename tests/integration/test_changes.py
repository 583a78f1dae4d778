"""The stream of changes: what people see of a job, written with the record; and who missed some is told."""

from __future__ import annotations

import threading

import pytest
import redis

from jobs import events
from jobs.attempt import TaskStatus
from jobs.errors import ChangesMissed
from jobs.events import AnswerKind, Event
from jobs.job import Status
from jobs.store import JobStore
from jobs.telling.changes import BEGINNING, MAX_BLOCK_SECONDS, NEWEST, Changed, place_of
from tests.integration.workbench import wait_for
from tests.unit.lifecycle_world import PICTURE, new_job


def add(store: JobStore, *ids: str) -> None:
    now = store.now()
    store.create([new_job(id=one, created_at=now, due_at=now, campaign="summer") for one in ids])


def seen(status: TaskStatus, progress: int | None = None) -> Event:
    return events.TaskSeen(1, "t1", status, progress, "https://cdn.test/1" if status is TaskStatus.SUCCESS else None)


UNTIL_ACCEPTED = (
    events.Release(),
    events.Claim("w1"),
    events.Commit(1),
    events.Answer(1, AnswerKind.ACCEPTED, "t1", None, 1),
)


def told(store: JobStore) -> list[tuple[str, Status, int | None]]:
    return [(one.job_id, one.status, one.progress) for one in store.changes(BEGINNING)]


def test_a_change_is_told_when_people_see_another_job(store: JobStore) -> None:
    add(store, "job_1")
    running = [seen(TaskStatus.IN_PROGRESS, percent) for percent in (10, 10, 11)]
    for event in (*UNTIL_ACCEPTED, *running, seen(TaskStatus.SUCCESS), events.Collected(1, PICTURE)):
        store.apply("job_1", event)
    assert told(store) == [
        ("job_1", Status.WAITING, None),
        ("job_1", Status.SUBMITTING, None),  # released, claimed and committed are one to those outside
        ("job_1", Status.ACCEPTED, None),
        ("job_1", Status.RUNNING, 10),
        ("job_1", Status.RUNNING, 11),
        ("job_1", Status.COLLECTING, 11),
        ("job_1", Status.SUCCEEDED, 11),
    ]
    assert {one.campaign for one in store.changes(BEGINNING)} == {"summer"}


def test_a_write_that_is_repeated_is_told_once(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply was lost."""
    add(store, "job_1")
    script = store.save_script
    lost: list[object] = []

    def loses_the_first_reply(keys: list[str], args: list[str]) -> object:
        answer = script(keys=keys, args=args)
        if not lost:
            lost.append(answer)
            raise redis.ConnectionError("the reply is lost")
        return answer

    monkeypatch.setattr(store, "save_script", loses_the_first_reply)
    assert store.apply("job_1", events.Cancel()).changed
    add(store, "job_1")  # nor is what was there already
    assert told(store) == [("job_1", Status.WAITING, None), ("job_1", Status.CANCELLED, None)]


def test_reading_goes_on_from_a_change(store: JobStore) -> None:
    assert (store.newest_change(), store.changes(BEGINNING), store.changes(NEWEST)) == (BEGINNING, [], [])
    add(store, "job_1", "job_2", "job_3")
    for one in ("job_1", "job_2"):
        store.apply(one, events.Cancel())
    *_, third, fourth = store.changes(BEGINNING, count=2)
    (fifth,) = store.changes(fourth.id)
    assert [one.job_id for one in (third, fourth, fifth)] == ["job_3", "job_1", "job_2"]
    assert store.newest_change() == fifth.id
    assert store.changes(fifth.id) == []


def test_reading_goes_on_in_the_middle_of_what_was_enqueued_together(store: JobStore) -> None:
    ids = [f"job_{number}" for number in range(120)]
    add(store, *ids)
    store.apply("job_0", events.Cancel())
    told = store.changes(BEGINNING)
    assert [one.job_id for one in told] == [*ids, "job_0"]
    assert sorted(told, key=lambda one: place_of(one.id)) == told
    for place in (0, 30, 48, 49, 50, 119):
        assert store.changes(told[place].id) == told[place + 1 :]
    assert store.changes(told[118].id, block_seconds=60) == told[119:]


def test_what_happens_to_jobs_together_shares_an_entry(store: JobStore, client: redis.Redis) -> None:
    ids = [f"job_{number}" for number in range(60)]
    add(store, *ids)
    cancelled = [(one, events.Cancel()) for one in ids[:2]]
    store.apply_many([*cancelled, *((one, events.Release()) for one in ids[2:58]), (ids[58], events.Cancel())])
    assert told(store)[60:] == [
        *((one, Status.CANCELLED, None) for one in ids[:2]),
        *((one, Status.SUBMITTING, None) for one in ids[2:58]),
        (ids[58], Status.CANCELLED, None),
    ]
    assert client.xlen(store.keys.changes) == 2 + 4  # 50 and 10 were enqueued; 2, 50, 6 and 1 were changed


@pytest.mark.parametrize("from_newest", [True, False])
def test_a_reader_waits_for_what_comes(store: JobStore, client: redis.Redis, from_newest: bool) -> None:
    add(store, "job_1")
    place = NEWEST if from_newest else store.newest_change()
    found: list[Changed] = []

    def read() -> None:
        while not found:  # each call waits only so long
            found.extend(store.changes(place, block_seconds=60))

    reader = threading.Thread(target=read)
    reader.start()
    blocked = lambda: any("b" in one["flags"] for one in client.client_list())  # noqa: E731
    wait_for(blocked, lambda: "nobody waits")
    store.apply("job_1", events.Cancel())
    reader.join(30)
    assert [(one.job_id, one.status) for one in found] == [("job_1", Status.CANCELLED)]
    assert MAX_BLOCK_SECONDS < 5, "less than the client waits for an answer"


@pytest.mark.parametrize("block_seconds", [0, 1])
def test_a_reader_whose_place_is_gone_is_told(store: JobStore, client: redis.Redis, block_seconds: float) -> None:
    for one in ("job_1", "job_2", "job_3"):
        add(store, one)
    first, second, third = store.changes(BEGINNING)
    client.xtrim(store.keys.changes, maxlen=2, approximate=False)
    with pytest.raises(ChangesMissed, match=first.id):
        store.changes(first.id, block_seconds=block_seconds)
    assert store.changes(second.id) == [third]
    client.delete(store.keys.changes)  # Redis came back without its records
    with pytest.raises(ChangesMissed, match=third.id):
        store.changes(third.id, block_seconds=block_seconds)


def test_the_stream_stays_short(store: JobStore, client: redis.Redis) -> None:
    with client.pipeline() as pipeline:
        for _ in range(12_000):
            pipeline.xadd(store.keys.changes, {"job": "job_0", "campaign": "c", "status": "waiting", "progress": ""})
        pipeline.execute()
    add(store, "job_1")
    assert 10_000 <= client.xlen(store.keys.changes) < 10_000 + 500


def test_a_change_costs_one_command_and_few_bytes(store: JobStore, client: redis.Redis) -> None:
    add(store, *(f"job_{number:026}" for number in range(1000)))
    before = client.info("commandstats").get("cmdstat_xadd", {"calls": 0})["calls"]
    store.apply("job_" + "0" * 26, events.Release())  # seen: submitting
    store.apply("job_" + "0" * 26, events.Claim("w1"))  # not seen
    assert client.info("commandstats")["cmdstat_xadd"]["calls"] - before == 1
    assert (client.memory_usage(store.keys.changes, samples=0) or 0) < 1000 * 40

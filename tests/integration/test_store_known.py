"""Records that are known: not read again, and counted on only while nobody has written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import redis

from jobs import events, server
from jobs.applying import Applied
from jobs.errors import JobNotFound
from jobs.events import Event
from jobs.job import Status
from jobs.store import JobStore
from tests.integration.stored import add, happen


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

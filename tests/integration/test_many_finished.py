"""What looks at campaigns again and again costs the same, however many jobs are finished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from jobs import events
from jobs.job import Status
from jobs.keys import Keys
from producer.campaign import summaries, summary
from tests.integration.workbench import Workbench, open_workbench
from tests.unit.lifecycle_world import new_job
from worker.dispatch import dispatch
from worker.reconcile import sweep

FEW, MANY = 20, 400


@pytest.fixture
def bench(redis_url: str, keys: Keys, tmp_path: Path) -> Iterator[Workbench]:
    bench = open_workbench(redis_url, keys, tmp_path, "http://127.0.0.1:9")
    yield bench
    bench.context.close()


def finish(bench: Workbench, count: int) -> None:
    """So many more that failed."""
    store = bench.store
    first = store.next_orders(count)
    now = store.now()
    jobs = [
        new_job(id=f"job_{order}", campaign="c", created_at=now, due_at=now, order=order)
        for order in range(first, first + count)
    ]
    store.create(jobs)
    failed = (events.Release(), events.Claim("w"), events.Answer(1, events.AnswerKind.INVALID))
    for event in failed:
        store.apply_many([(job.id, event) for job in jobs])
    assert store.counts("c")["failed"] >= count


def commands(client: redis.Redis, call: Callable[[], object]) -> Counter[str]:
    """What a call asks of the server."""
    before, _, after = _calls(client), call(), _calls(client)
    return after - before


def _calls(client: redis.Redis) -> Counter[str]:
    stats = client.info("commandstats")
    return Counter({name: int(one["calls"]) for name, one in stats.items() if name != "cmdstat_info"})


def test_looking_costs_the_same_however_many_are_finished(bench: Workbench, client: redis.Redis) -> None:
    looks: dict[str, Callable[[], object]] = {
        "show": lambda: (summary(bench.store, "c"), bench.store.newest_failures("c", 5)),
        "list": lambda: summaries(bench.store),
        "dispatch": lambda: dispatch(bench.context),
        "sweep": lambda: sweep(bench.context),
    }

    def asked() -> dict[str, Counter[str]]:
        for look in looks.values():  # the first one tidies up after what was finished just now
            look()
        return {name: commands(client, look) for name, look in looks.items()}

    finish(bench, FEW)
    few = asked()
    finish(bench, MANY)
    assert asked() == few
    assert few["show"].total() > 0


def test_the_newest_failures_come_first(bench: Workbench) -> None:
    finish(bench, 3)
    names = [job.id for job in bench.store.campaign_jobs("c")]
    assert [job.id for job in bench.store.newest_failures("c", 2)] == names[:0:-1]
    bench.store.apply(names[2], events.Retry())
    assert [job.id for job in bench.store.newest_failures("c", 5)] == [names[1], names[0]], "it has not failed any more"
    parked = bench.store.apply(names[0], events.Conflict("job_x", "task t")).after
    assert parked.status is Status.PARKED
    assert [job.id for job in bench.store.newest_failures("c", 5)] == [names[0], names[1]], "it ended once more"
    assert bench.store.delete(names) == 2
    assert bench.store.newest_failures("c", 5) == []

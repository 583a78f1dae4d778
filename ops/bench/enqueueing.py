"""Enqueueing: how fast one process puts jobs in, beside a loop of Celery's `delay()` and bare writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import islice, permutations
from pathlib import Path

from jobs.settings import Settings
from ops.bench import enqueue, theirs
from ops.bench.contest import Blend
from ops.bench.redis_limit import RedisLimit
from ops.bench.report import Row, median_line
from ops.embedded import EmbeddedServer
from ops.ownership import Ownership

CELERY = "celery"
LIMIT = "limit: bare Redis writes"
_PICTURES = 1000
# Celery enqueues one by one, and waits for the disk twice for each.
_OF_CELERY = 10
# As many as a producer gathers at most.
_A_ROUND_TRIP = 500


def enqueueing(folder: Path, jobs: int, repetitions: int, peers: Sequence[str]) -> Row:
    """Each on an empty server of its own; nobody works meanwhile."""
    found: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    for number in range(repetitions):
        place = folder / f"{number}"
        found["blendq"].append(_ours(place / "ours", jobs))
        if CELERY in peers:
            found[CELERY].append(theirs.enqueue("on_celery", place / "celery", _blends(jobs // _OF_CELERY + 1)))
        with RedisLimit(place / "bare") as bare:
            found[LIMIT].append(bare.measure(jobs, changes_a_job=1, a_round_trip=_A_ROUND_TRIP))
    what = f"{jobs} jobs whose pictures are stored already, by one process; AOF always; median of {repetitions}. "
    what += f"Celery's `delay()` and a hash for each, {jobs // _OF_CELERY} of them."
    return Row("enqueue", what, [median_line(who, each, {}) for who, each in found.items()])


def _ours(folder: Path, jobs: int) -> dict[str, float]:
    settings = Settings(data_dir=folder)
    with Ownership(folder) as owner, EmbeddedServer(settings, owner):
        took = enqueue.measure(settings, jobs)
    return theirs.enqueue_figures(took.jobs_per_second, took.cpu_us_per_job / 1000, took.server_cpu_us_per_job / 1000)


def _blends(count: int) -> list[Blend]:
    """Celery is told paths, and reads none of them."""
    paths = [Path(f"/pictures/{number}.png") for number in range(_PICTURES)]
    return list(islice(permutations(paths, 2), count))

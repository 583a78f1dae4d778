"""Whole jobs: from the moment they are enqueued until each has its picture on the disk and its last record."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ops.bench import pictures
from ops.bench.contest import Blend, Contestant, Result, repetition
from ops.bench.ours import Ours
from ops.bench.redis_limit import RedisLimit
from ops.bench.report import Row, median_line
from ops.bench.stand_in import StandIn
from ops.bench.theirs import EVERYSEC, Peer, Script
from ops.ownership import Ownership

KB, MB = 1 << 10, 1 << 20
WARM_UP_JOBS = 16
# Of ours: one for each processor here, since an interpreter uses one at a time. The peers have processes as they need.
WORKERS = 2
SOCKETS, REDIS = "limit: raw sockets", "limit: bare Redis writes"


def small(folder: Path, jobs: int, repetitions: int, concurrency: int, peers: Sequence[str]) -> Row:
    blends = pictures.blends(pictures.draw(folder / "small", 40, 20 * KB), 2, jobs)
    what = f"{jobs} jobs of 2 pictures of 20 KB, {concurrency} at once; median of {repetitions}."
    return _contest("small jobs", what, folder, blends, repetitions, concurrency, peers)


def big(folder: Path, jobs: int, repetitions: int, concurrency: int, peers: Sequence[str]) -> Row:
    blends = pictures.blends(pictures.draw(folder / "big", 7, 4 * MB), 5, jobs)
    what = f"{jobs} jobs of 5 pictures of 4 MB, {concurrency} at once; median of {repetitions}."
    return _contest("big jobs", what, folder, blends, repetitions, concurrency, peers)


def _contest(
    name: str,
    what: str,
    folder: Path,
    blends: Sequence[Blend],
    repetitions: int,
    concurrency: int,
    peers: Sequence[str],
) -> Row:
    """Everybody in turn, again and again."""
    found: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    problems: dict[str, Counter[str]] = defaultdict(Counter)
    with ExitStack() as exits:
        owner = exits.enter_context(Ownership(folder / name.replace(" ", "-")))
        api = exits.enter_context(StandIn(owner.data_dir, owner.reaper))
        all_of_them = _contestants(owner.data_dir, api.url, concurrency, peers)
        contestants = [exits.enter_context(_running(one, api, blends)) for one in all_of_them]
        bare = exits.enter_context(RedisLimit(owner.data_dir / "bare"))
        for number in range(repetitions):
            for one in contestants:
                before = api.ledger().cpu_seconds
                result = repetition(one, api, blends, f"{number}")
                api_seconds = api.ledger().cpu_seconds - before
                found[one.name].append(_figures(result, api_seconds))
                problems[one.name].update(result.problems)
            found[SOCKETS].append(_by_raw_sockets(api, blends))
            found[REDIS].append(bare.measure(len(blends)))
    return Row(name, what, [median_line(who, each, problems[who]) for who, each in found.items()])


def _contestants(folder: Path, api_url: str, concurrency: int, peers: Sequence[str]) -> Iterator[Contestant]:
    yield Ours(folder / "ours", api_url, concurrency, workers=WORKERS)
    for name in peers:
        place = folder / name.replace(", ", "-").replace(" ", "-")
        match name:
            case "celery":
                yield Peer(name, "on_celery", place, api_url, concurrency)
            case "celery, everysec":
                yield Peer(name, "on_celery", place, api_url, concurrency, EVERYSEC)
            case "asyncio script":
                yield Script(place, api_url, concurrency)
            case tool if importlib.util.find_spec(tool) is not None:
                yield Peer(tool, f"on_{tool}", place, api_url, concurrency)
            case tool:
                print(f"{tool} is not installed, and left out: pip install -e '.[bench]'", file=sys.stderr)


@contextmanager
def _running(contestant: Contestant, api: StandIn, blends: Sequence[Blend]) -> Iterator[Contestant]:
    """Started, warmed up, and held."""
    contestant.start()
    try:
        repetition(contestant, api, blends[:WARM_UP_JOBS], "warm")
        yield contestant
    finally:
        contestant.close()


def _figures(result: Result, api_seconds: float) -> dict[str, float]:
    return {
        "jobs/s": result.jobs_per_second,
        "CPU ms a job": result.cpu_ms_a_job,
        **{f"{name} ms": one.cpu_seconds * 1000 / result.jobs for name, one in sorted(result.parts.items())},
        "worker peak MB": result.worker_peak_mb,
        "stand-in ms": api_seconds * 1000 / result.jobs,
    }


def _by_raw_sockets(api: StandIn, blends: Sequence[Blend]) -> dict[str, float]:
    command = [sys.executable, "-m", "ops.bench.limit", api.url]
    lines = "".join(json.dumps([str(one) for one in blend]) + "\n" for blend in blends)
    run = subprocess.run(command, input=lines, text=True, capture_output=True, check=True)  # noqa: S603
    found = json.loads(run.stdout)
    return {"jobs/s": len(blends) / found["seconds"], "CPU ms a job": found["cpu_seconds"] * 1000 / len(blends)}

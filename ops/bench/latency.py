"""Latency: how soon an express job has its picture while others wait; and what a stack costs that has nothing to do."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from jobs.request import BlendRequest
from ops.bench import parts, pictures
from ops.bench.contest import Blend
from ops.bench.ours import Ours
from ops.bench.report import Line, Row, median_line
from ops.bench.stand_in import StandIn
from ops.ownership import Ownership

KB = 1 << 10
PATIENCE_SECONDS = 60.0
EXPRESS = 5  # one after the other, behind each number of waiting jobs


def express(folder: Path, waiting: tuple[int, ...], concurrency: int) -> Row:
    """A line for each number of jobs that wait when it comes."""
    drawn = pictures.draw(folder / "pictures", 40, 20 * KB)
    lines = []
    with Ownership(folder / "express") as owner, StandIn(owner.data_dir, owner.reaper) as api:
        for number in waiting:
            ours = Ours(owner.data_dir / f"behind-{number}", api.url, concurrency, slots=concurrency)
            ours.start()
            try:
                figures = _behind(ours, pictures.blends(drawn, 2, number + EXPRESS))
            finally:
                ours.close()
            lines.append(Line(f"{number:,} wait", figures))
    what = f"Priority 9, {concurrency} slots, from enqueue to the picture; of {EXPRESS} in a row, and small jobs."
    return Row("express jobs", what, lines, compared=False)


def _behind(ours: Ours, blends: list[Blend]) -> dict[str, float]:
    held = [pid for part in ours.held for pid in ours.pids[part]]
    if waiting := blends[EXPRESS:]:
        parts.hold(held)
        ours.enqueue(waiting, "waiting")
        parts.let_go(held)
    times = sorted(_one(ours, blend) for blend in blends[:EXPRESS])
    return {"median ms": round(times[len(times) // 2]), "slowest ms": round(times[-1])}


def _one(ours: Ours, blend: Blend) -> float:
    """Milliseconds."""
    began = time.monotonic()
    request = BlendRequest(images=tuple(map(str, blend)), priority=9)
    ours.producer.wait(ours.producer.enqueue(request, campaign="express"), PATIENCE_SECONDS)
    return (time.monotonic() - began) * 1000


def idle(folder: Path, seconds: float, concurrency: int) -> Row:
    """What each part uses when there is nothing to do."""
    with Ownership(folder / "idle") as owner, StandIn(owner.data_dir, owner.reaper) as api:
        ours = Ours(owner.data_dir / "ours", api.url, concurrency)
        ours.start()
        try:
            ours.enqueue(pictures.blends(pictures.draw(folder / "pictures", 2, 20 * KB), 2, 1), "warm")
            while not ours.finished("warm"):
                time.sleep(0.05)
            before = _uses(ours)
            time.sleep(seconds)
            used = parts.used_between(before, _uses(ours))
        finally:
            ours.close()
    figures = {f"{name} ms": round(one.cpu_seconds * 60_000 / seconds) for name, one in sorted(used.items())}
    figures["all ms"] = sum(figures.values())
    return Row("idle", f"CPU a minute with nothing to do, over {seconds:g} s.", [Line("blendq", figures)])


def again(folder: Path) -> Row:
    """`blendq run` of what is done already: it starts a stack, finds nothing to do, and leaves."""
    manifest = Path(__file__).parents[2] / "examples" / "pairs.csv"
    options = ["--sandbox", "--speed", "1000", "--out", str(folder / "out")]
    command = [sys.executable, "-m", "ops.cli", "run", str(manifest), *options]
    env = {**os.environ, "BLENDQ_DATA_DIR": str(folder / "data")}
    for _ in range(2):
        began, cpu = time.monotonic(), _children_cpu_seconds()
        subprocess.run(command, env=env, check=True, capture_output=True)  # noqa: S603
    figures = {"seconds": time.monotonic() - began, "CPU ms": (_children_cpu_seconds() - cpu) * 1000}
    return Row("run again", "The examples, when all is done.", [median_line("blendq run", [figures], {})])


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _uses(ours: Ours) -> Mapping[str, parts.Use]:
    return {name: parts.use(*pids) for name, pids in ours.pids.items()}

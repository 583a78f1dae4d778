"""Callbacks: how many one receiver process makes durable, and how long each waits, by `ops.chaos.callbacks`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ops.bench.report import Row, median_line

# All are due at once: it tells how many are made durable, not how many come.
BURST_SECONDS = 0.1
# The known servers call back about once a second for each running task; this is far above any of them.
STEADY_A_SECOND = 1000


def callbacks(count: int, repetitions: int) -> Row:
    found: dict[str, list[Mapping[str, float]]] = {"blendq, all at once": [], "blendq, 1,000 a second": []}
    problems: Counter[str] = Counter()
    for _ in range(repetitions):
        for who, seconds in zip(found, (BURST_SECONDS, count / STEADY_A_SECOND), strict=True):
            report = _storm(count, seconds)
            problems.update({"lost": report["lost"]} if report["lost"] else {})
            found[who].append(_figures(report))
    what = f"{count} true callbacks to one receiver process, 128 connections; median of {repetitions}."
    return Row("callbacks", what, [median_line(who, each, problems) for who, each in found.items()], compared=False)


def _storm(count: int, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "ops.chaos.callbacks", "storm", "--json", "--slow", "0"]
    options = ["--callbacks", str(count), "--seconds", str(seconds)]
    run = subprocess.run([*command, *options], capture_output=True, text=True, check=False)  # noqa: S603
    if not run.stdout:
        raise RuntimeError(f"the storm did not come to its end: {run.stderr[-1000:]}")
    return dict(json.loads(run.stdout))


def _figures(report: Mapping[str, Any]) -> dict[str, float]:
    return {
        "durable/s": report["per_second"],
        "p50 ms": report["milliseconds"]["p50"],
        "p99 ms": report["milliseconds"]["p99"],
        "CPU ms each": report["cpu_milliseconds_each"],
        "peak MB": report["memory_mb"]["most"],
        "not now (503)": report["answers"].get("503", 0),
    }

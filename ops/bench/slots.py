"""Slots: how well the flow keeps the API busy and follows it, by `ops.bench.flow`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops.bench.report import Line, Row, short

TASK_SECONDS = (3, 6)
_UPLOAD = "slot free -> upload"


def slots(folder: Path, phase_seconds: float, jobs: int) -> Row:
    """
    Args:
        folder: for its data.
        phase_seconds: how long most phases last.
        jobs: how many wait at first.
    """
    low, high = map(str, TASK_SECONDS)
    options = ["--phase-seconds", str(phase_seconds), "--task-seconds", low, high, "--jobs", str(jobs)]
    command = [sys.executable, "-m", "ops.bench.flow", "--out", str(folder), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    found = json.loads((folder / "flow.json").read_text(encoding="utf-8"))
    lines = [Line(phase["name"], _figures(phase)) for phase in found["phases"]]
    delays = {"all jobs": f"{_UPLOAD} (flow)", "urgent jobs": f"{_UPLOAD} (express)"}
    lines += [_delay(who, found["delays"][name]) for who, name in delays.items() if name in found["delays"]]
    what = f"Phases of {phase_seconds:g} s, tasks of {low} to {high} s, {jobs:,} jobs; "
    what += "last how long a slot is free until the next upload (median)."
    files = {"slots.svg": (folder / "flow.svg").read_text(encoding="utf-8")}
    return Row("slots", what, lines, compared=False, files=files)


def _figures(phase: Mapping[str, Any]) -> dict[str, float]:
    answers = phase["answers"]
    total = sum(answers.values()) or 1
    figures = {"busy %": phase["busy_share"] * 100, "slots": phase["slots"]}
    if phase["followed_after_seconds"] is not None:
        figures["followed, task times"] = phase["followed_after_seconds"] * 2 / sum(TASK_SECONDS)
    figures |= {f"{code} %": answers.get(code, 0) * 100 / total for code in ("22", "23")}
    return {name: short(value) for name, value in figures.items()}


def _delay(who: str, told: str) -> Line:
    """Of "58 ms median, …", the median."""
    median = told.partition(" ms")[0]
    return Line(who, {"free to upload, ms": float(median)} if median.isdigit() else {})

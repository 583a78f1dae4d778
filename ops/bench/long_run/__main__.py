"""A campaign of any size through the whole stack, with memory, rates and costs over time.

    python -m ops.bench.long_run --jobs 1000000 --out DIR --minutes 60

enqueues so many jobs and works them off, and can be run again to go on. `--finish` bounds how many are worked off;
with several `--jobs` so many wait at first, then so many, and so on. It writes `samples.jsonl` as it goes, `run.svg`
and `run.json` at its end. Every figure is measured; nothing is extrapolated.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ops.bench.long_run import told
from ops.bench.long_run.plan import AnotherPlanError, Plan
from ops.bench.long_run.run import SAMPLES, LongRun
from ops.bench.long_run.samples import read
from ops.bench.report import machine

SANDBOX_SPEED = 1000.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    if sorted(given.jobs) != given.jobs:
        parser.error("--jobs: several numbers go up, from stage to stage")
    until = time.monotonic() + given.minutes * 60
    folder: Path = given.out.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        plan = _plan(given).kept_in(folder)
    except AnotherPlanError as error:
        parser.error(str(error))
    about = machine()
    with LongRun(folder, plan, given.every, until) as run:
        run.go_on()
        verdict = run.judge()
    samples = read(folder / SAMPLES)
    rows = told.rows(samples)
    (folder / "run.svg").write_text(told.plots(samples), encoding="utf-8")
    facts: dict[str, Any] = {
        "machine": about,
        "plan": asdict(plan),
        "verdict": asdict(verdict),
        "problems": verdict.problems,
    }
    facts |= {"restarts": run.events, "rows": [row.to_json() for row in rows]}
    (folder / "run.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    print(json.dumps(facts) if given.json else "\n".join([*(row.to_text() for row in rows), *_summary(facts)]))
    return 1 if verdict.problems else 0


def _summary(facts: Mapping[str, Any]) -> Iterator[str]:
    verdict = facts["verdict"]
    total = sum(verdict["jobs"].values())
    yield f"{verdict['jobs'].get('succeeded', 0):,} of {total:,} jobs finished; {verdict['submissions']:,} submissions"
    yield f"problems: {facts['problems'] or 'none'}; restarts: {facts['restarts'] or 'none'}"
    yield json.dumps(facts["machine"])


def _plan(given: argparse.Namespace) -> Plan:
    return Plan(
        jobs=tuple(given.jobs),
        finish=given.finish,
        picture_bytes=given.picture_bytes,
        workers=given.workers,
        threads=given.threads,
        speed=given.speed if given.sandbox else None,
        kept=given.kept,
    )


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m ops.bench.long_run", description=__doc__.partition("\n")[0])
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="for everything; again: it goes on there")
    made.add_argument("--jobs", type=int, nargs="+", default=[1_000_000], metavar="N", help="that wait (1000000)")
    made.add_argument("--finish", type=int, metavar="N", help="of them that are worked off (all)")
    made.add_argument("--kept", type=int, default=0, metavar="N", help="finished jobs that are there before: copies")
    made.add_argument("--minutes", type=float, default=math.inf, help="stop after so long; run it again to go on")
    made.add_argument("--sandbox", action="store_true", help="speak to the sandbox, not to the stand-in")
    made.add_argument("--speed", type=float, default=SANDBOX_SPEED, help="of the sandbox: its time is divided by it")
    made.add_argument("--picture-bytes", type=int, default=20 << 10, help="of each of a blend's two pictures")
    made.add_argument("--workers", type=int, default=1, help="worker processes")
    made.add_argument("--threads", type=int, default=8, help="submissions and downloads at once in each")
    made.add_argument("--every", type=float, default=5.0, metavar="SECONDS", help="how often a sample is taken")
    made.add_argument("--json", action="store_true")
    return made


if __name__ == "__main__":
    sys.exit(main())

"""The command: python -m ops.bench [ROW ...] [--quick] [--json]."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jobs.settings import Settings
from ops.bench import enqueue, whole_jobs
from ops.bench.callbacks import callbacks
from ops.bench.growth import growth
from ops.bench.latency import again, express, idle
from ops.bench.report import Line, Row, machine
from ops.bench.scale import FULL, QUICK, SMALLEST, Scale
from ops.embedded import EmbeddedServer
from ops.ownership import Ownership

Measure = Callable[[Path, Scale, Sequence[str]], Row]


def _small(folder: Path, scale: Scale, peers: Sequence[str]) -> Row:
    return whole_jobs.small(folder, scale.small_jobs, scale.repetitions, scale.concurrency, peers)


def _big(folder: Path, scale: Scale, peers: Sequence[str]) -> Row:
    return whole_jobs.big(folder, scale.big_jobs, scale.repetitions, scale.concurrency, peers)


def _enqueue(folder: Path, scale: Scale, _: Sequence[str]) -> Row:
    settings = Settings(data_dir=folder)
    with Ownership(folder) as owner, EmbeddedServer(settings, owner):
        found = enqueue.measure(settings, scale.enqueued)
    figures = {"jobs/s": found.jobs_per_second, "CPU ms a job": found.cpu_us_per_job / 1000}
    return Row("enqueue", f"{found.jobs} jobs through `enqueue_many` of one process.", [Line("blendq", figures)])


# Those with peers take them; the others are about us alone.
ROWS: Mapping[str, Measure] = {
    "enqueue": _enqueue,
    "small": _small,
    "big": _big,
    "callbacks": lambda _, scale, __: callbacks(scale.callbacks, scale.repetitions),
    "growth": lambda folder, scale, _: growth(folder, scale.kept),
    "express": lambda folder, scale, _: express(folder, scale.waiting, scale.concurrency),
    "idle": lambda folder, scale, _: idle(folder, scale.idle_seconds, scale.concurrency),
    "again": lambda folder, _, __: again(folder),
}


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    scale = SMALLEST if given.smallest else QUICK if given.quick else FULL
    about = machine()
    rows = []
    for name in given.rows or ROWS:
        with tempfile.TemporaryDirectory(prefix="blendq-bench-") as folder:
            rows.append(ROWS[name](Path(folder), scale, given.peers.split(";") if given.peers else ()))
        if not given.json:
            print(rows[-1].to_text(), flush=True)
    about["load_after"] = machine()["load"]
    if given.json:
        print(json.dumps({"machine": about, "rows": [row.to_json() for row in rows]}))
    else:
        print(json.dumps(about))
    return 1 if any(line.problems for row in rows for line in row.lines) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ops.bench", description="blendq beside its peers and the limit.")
    parser.add_argument(
        "rows", nargs="*", choices=[*ROWS, []], metavar="ROW", help=f"{', '.join(ROWS)}; all by default"
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="under two minutes; figures to look at, not to tell")
    size.add_argument("--smallest", action="store_true", help="only to see that everything works")
    parser.add_argument(
        "--peers", default=";".join(whole_jobs.PEERS), help="which of them, with semicolons; '' for none"
    )
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())

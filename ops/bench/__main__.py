"""The command: python -m ops.bench [ROW ...] [--quick] [--json] [--out DIR]."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ops.bench import whole_jobs
from ops.bench.callbacks import callbacks
from ops.bench.enqueueing import enqueueing
from ops.bench.growth import growth
from ops.bench.latency import again, express, idle
from ops.bench.report import Row, machine
from ops.bench.scale import FULL, QUICK, SMALLEST, Scale
from ops.bench.slots import slots
from ops.bench.targets import judged, to_text

Measure = Callable[[Path, Scale, Sequence[str]], Row]


def _small(folder: Path, scale: Scale, peers: Sequence[str]) -> Row:
    return whole_jobs.small(folder, scale.small_jobs, scale.repetitions, scale.concurrency, peers)


def _big(folder: Path, scale: Scale, peers: Sequence[str]) -> Row:
    return whole_jobs.big(folder, scale.big_jobs, scale.repetitions, scale.concurrency, peers)


# Those with peers take them; the others are about us alone.
ROWS: Mapping[str, Measure] = {
    "enqueue": lambda folder, scale, peers: enqueueing(folder, scale.enqueued, scale.repetitions, peers),
    "small": _small,
    "big": _big,
    "callbacks": lambda _, scale, __: callbacks(scale.callbacks, scale.repetitions),
    "growth": lambda folder, scale, _: growth(folder, scale.kept, scale.server),
    "slots": lambda folder, scale, _: slots(folder, scale.phase_seconds, scale.slots_waiting),
    "express": lambda folder, scale, _: express(folder, scale.waiting, scale.concurrency),
    "idle": lambda folder, scale, _: idle(folder, scale.idle_seconds, scale.concurrency),
    "again": lambda folder, _, __: again(folder),
}

# It takes four minutes, or is too short to tell anything.
ONLY_FULL = ("slots",)


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    scale = SMALLEST if given.smallest else QUICK if given.quick else FULL
    names = given.rows or (ROWS if scale is FULL else [one for one in ROWS if one not in ONLY_FULL])
    scale = replace(scale, server=given.redis_server, kept=tuple(given.kept or scale.kept))
    peers = scale.peers if given.peers is None else [one for one in given.peers.split(";") if one]
    about = machine()
    rows = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="blendq-bench-") as folder:
            rows.append(ROWS[name](Path(folder), scale, peers))
        if not given.json:
            print(_text(rows[-1]), flush=True)
    about["load_after"] = machine()["load"]
    command = shlex.join(["python", "-m", "ops.bench", *(sys.argv[1:] if arguments is None else arguments)])
    report = {"command": command, "machine": about, "rows": [row.to_json() | _targets(row) for row in rows]}
    if given.out:
        _save(given.out, report, rows)
    print(json.dumps(report) if given.json else _circumstances(report))
    return 1 if any(line.problems for row in rows for line in row.lines) else 0


def _text(row: Row) -> str:
    found = judged(row)
    return row.to_text() + (f"\n{to_text(found)}" if found else "")


def _targets(row: Row) -> dict[str, Any]:
    return {"targets": [asdict(one) for one in judged(row)]}


def _circumstances(report: Mapping[str, Any]) -> str:
    """Without which no figure means anything."""
    about = report["machine"]
    before, after = (about[name][0] for name in ("load", "load_after"))
    machine = f"{about['processors']} processors ({about['processor']}), Python {about['python']}"
    date = about["date"].partition("T")[0]
    return f"{date}, `{report['command']}`, {machine}, load {before:.1f} before and {after:.1f} after.\n"


def _save(folder: Path, report: Mapping[str, Any], rows: Sequence[Row]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    (folder / "report.md").write_text("\n".join([_circumstances(report), *map(_text, rows)]), encoding="utf-8")
    for name, text in (pair for row in rows for pair in row.files.items()):
        (folder / name).write_text(text, encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ops.bench", description="blendq beside its peers and the limit.")
    which = f"{', '.join(ROWS)}; all by default, but for {', '.join(ONLY_FULL)} in quick runs"
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], metavar="ROW", help=which)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="under two minutes; figures to look at, not to tell")
    size.add_argument("--smallest", action="store_true", help="only to see that everything works")
    parser.add_argument("--peers", help="which of them, with semicolons; '' for none (all; of quick runs celery)")
    parser.add_argument("--redis-server", type=Path, metavar="PATH", help="`growth` on this server's program")
    parser.add_argument(
        "--kept", type=int, nargs="+", metavar="JOBS", help="so many jobs in `growth`, one after another"
    )
    parser.add_argument("--json", action="store_true", help="instead of tables in Markdown")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep tables, JSON and plots there")
    return parser


if __name__ == "__main__":
    sys.exit(main())

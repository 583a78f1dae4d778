"""`python -m ops.chaos`: a fault run by its seed, a batch of them, or the proof that they catch what is broken."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from ops.chaos.batch import run_batch
from ops.chaos.options import Command, parse
from ops.chaos.prove import prove
from ops.chaos.run import Report, run
from ops.chaos.schedule import KINDS
from ops.chaos.variants import VARIANTS

MOST_LINES = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 only when nothing was lost, paid twice or wrong."""
    command = parse(arguments, list(KINDS), list(VARIANTS))
    if command.prove:
        return prove(command.variants or tuple(VARIANTS), as_json=command.as_json, control=command.control)
    if command.seeds:
        return run_batch(command.options, command.seeds, command.at_once, command.results, as_json=command.as_json)
    report = run(command.options)
    _show(command, report)
    return 0 if report.verdict.good else 1


def _show(command: Command, report: Report) -> None:
    if command.as_json:
        print(json.dumps(report.as_json(), default=str))
        return
    verdict = report.verdict
    finals = ", ".join(f"{count} {status}" for status, count in sorted(verdict.final.items()))
    print(f"seed {report.options.seed}: {verdict.jobs} jobs: {finals}; {report.seconds:.0f} s")
    for name in ("lost", "double_paid", "wrong", "parked", "failed"):
        lines = getattr(verdict, name)
        print(f"{name} {len(lines)}")
        for line in lines[:MOST_LINES]:
            print(f"  {line}")
    doubt = {name: value for name, value in verdict.doubt.as_json().items() if value}
    print(f"caught between commit and answer: {doubt}")
    for name, value in (("paid again, rightly", dict(verdict.paid_again)), ("recovery, s", report.recovery)):
        print(f"{name}: {value}")
    for name, lines in (("died alone", report.died_alone), ("would not leave", report.would_not_leave)):
        if lines:
            print(f"{name}: {', '.join(lines)}")
    if report.folder:
        print(f"logs, ledger, histories: {report.folder}")


if __name__ == "__main__":
    sys.exit(main())

"""What a fault run is made of, and the command line that says so."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PERSONALITIES = ("open-source", "plus", "community", "gateway", "again")
ON_QUEUED = ("confirm", "resubmit", "wait")


@dataclass(frozen=True)
class Options:
    """One run. The schedule is a function of these alone.

    `only` limits the kinds of faults; `broken` names the deliberately broken variant that runs instead of blendq;
    `step` limits kills and stops of workers to one step of a submission. `lasts_seconds` is for every fault, whatever
    was drawn; `overlap` is how many there may be at once: more than three would rarely let any job through. With
    `real_times` the product waits as long as its defaults say. `apis` is how many there are; faults are the first's.
    """

    seed: int = 1
    jobs: int = 100
    faults: int = 10
    only: tuple[str, ...] = ()
    personality: str = "open-source"
    on_queued: str = "confirm"
    broken: str | None = None
    step: str | None = None
    workers: int = 3
    settle_seconds: float = 90.0
    overlap: int = 3
    lasts_seconds: float | None = None
    real_times: bool = False
    keep: Path | None = None
    apis: int = 1

    @property
    def pace(self) -> float:
        """How much longer everything takes than in a scaled run."""
        return 10.0 if self.real_times else 1.0

    @property
    def deadline_seconds(self) -> float:
        """Whatever happens, the run is over by then."""
        each = 8.0 + (self.lasts_seconds or 0.0)
        return self.pace * (60.0 + 0.5 * self.jobs + self.settle_seconds) + each * self.faults

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"keep": None if self.keep is None else str(self.keep), "only": list(self.only)}

    def to_arguments(self) -> list[str]:
        """The command line of this run."""
        given: dict[str, object] = {"on-queued": self.on_queued, "break": self.broken, "settle": self.settle_seconds}
        given |= {"only": ",".join(self.only) or None, "keep": self.keep}
        for name in ("seed", "jobs", "faults", "personality", "step", "workers", "apis", "overlap"):
            given[name] = getattr(self, name)
        given["lasts"] = self.lasts_seconds
        flags = [f"--{name}={value}" for name, value in given.items() if value is not None]
        return flags + ["--real-times"] * self.real_times


@dataclass(frozen=True)
class Command:
    """What the command line asks for: one run, a batch of seeds, or the proof that what is broken is caught."""

    options: Options
    as_json: bool
    seeds: tuple[int, ...]
    at_once: int
    results: Path | None
    prove: bool
    control: bool
    variants: tuple[str, ...]


def parse(arguments: Sequence[str] | None, kinds: Sequence[str], variants: Sequence[str]) -> Command:
    """Read the command line; leaves with exit code 2 and one clear line when it is wrong."""
    made = _parser(kinds, variants)
    given = made.parse_args(arguments)
    only = _names(made, "--only", given.only, kinds)
    proved = _names(made, "--variants", given.variants, variants)
    if min(given.jobs, given.workers, given.overlap) < 1 or given.faults < 0:
        made.error("--jobs, --workers and --overlap must be at least 1, --faults must not be negative")
    options = Options(
        seed=given.seed,
        jobs=given.jobs,
        faults=given.faults,
        only=only,
        personality=given.personality,
        on_queued=given.on_queued,
        broken=given.broken,
        step=given.step,
        workers=given.workers,
        apis=given.apis,
        settle_seconds=given.settle,
        overlap=given.overlap,
        lasts_seconds=given.lasts,
        real_times=given.real_times,
        keep=given.keep,
    )
    seeds = _seeds(made, given.seeds)
    if given.at_once < 1:
        made.error("--at-once must be at least 1")
    return Command(options, given.json, seeds, given.at_once, given.results, given.prove, given.control, proved)


def _seeds(made: argparse.ArgumentParser, text: str) -> tuple[int, ...]:
    """`1-3,7` is 1, 2, 3, 7."""
    try:
        ranges = [part.partition("-")[::2] for part in text.split(",") if part]
        return tuple(seed for first, last in ranges for seed in range(int(first), int(last or first) + 1))
    except ValueError:
        made.error(f"--seeds: {text!r} is no list of seeds such as 1-200 or 3,5,8-10")


def _names(made: argparse.ArgumentParser, flag: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
    names = tuple(name for name in text.split(",") if name)
    if unknown := [name for name in names if name not in known]:
        made.error(f"{flag}: unknown {', '.join(unknown)}; known: {', '.join(known)}")
    return names


def _parser(kinds: Sequence[str], variants: Sequence[str]) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m ops.chaos", description=__doc__, epilog=f"kinds: {', '.join(kinds)}")
    made.add_argument("--seed", type=int, default=1, help="draws the schedule; the same seed, the same faults")
    made.add_argument("--seeds", default="", metavar="A-B,…", help="a batch: run each of these seeds, and sum up")
    made.add_argument("--at-once", type=int, default=1, metavar="N", help="with --seeds: so many runs at a time")
    made.add_argument(
        "--results", type=Path, metavar="FILE", help="with --seeds: add each result to FILE, and skip what it has"
    )
    made.add_argument("--jobs", type=int, default=100)
    made.add_argument("--faults", type=int, default=10)
    made.add_argument("--only", default="", metavar="KIND,…", help="draw from these kinds only")
    made.add_argument("--personality", choices=PERSONALITIES, default="open-source", help="the simulated API's family")
    made.add_argument("--on-queued", choices=ON_QUEUED, default="confirm")
    made.add_argument("--break", dest="broken", choices=variants, help="run this broken variant instead of blendq")
    made.add_argument("--step", help="kill or stop workers at this step of a submission only")
    made.add_argument("--workers", type=int, default=3)
    made.add_argument(
        "--apis", type=int, choices=(1, 2), default=1, help="with 2 the jobs are shared, and the faults are the first's"
    )
    made.add_argument("--overlap", type=int, default=3, metavar="N", help="so many faults at once, at most")
    made.add_argument("--lasts", type=float, metavar="SECONDS", help="let every fault last so long")
    made.add_argument(
        "--real-times", action="store_true", help="leases, backoffs and timeouts as they are by default; takes long"
    )
    made.add_argument("--settle", type=float, default=90.0, help="seconds to wait for the last job after all is healed")
    made.add_argument("--keep", type=Path, metavar="DIR", help="keep logs, ledger and report here in any case")
    made.add_argument("--json", action="store_true", help="print the whole report, the schedule too, as JSON")
    made.add_argument("--prove", action="store_true", help="run every broken variant, and say which are caught")
    made.add_argument(
        "--control", action="store_true", help="with --prove: the unbroken product must pass each case too"
    )
    made.add_argument("--variants", default="", metavar="NAME,…", help="with --prove: these variants only")
    return made

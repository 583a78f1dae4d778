"""What an API that fails for a while does to the others, and to the jobs: the real stack on one sandbox or several.

    python -m ops.bench.outage --out DIR [--upstreams 2] [--fault down|key|silent]

starts everything, lets the first API fail for a while, and then lets every job end. It writes `outage.svg` (for each
API its slots, and the tasks worked on, over time), and `outage.json`: how busy each was kept, and by the ledgers of all
of them how many jobs were paid for, how many twice, and how many are lost. Tasks take seconds instead of minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from jobs.job import Status
from jobs.settings import Settings
from jobs.store import JobStore
from ops.bench.flow import SAMPLE_SECONDS, Api, enqueue, free_port
from ops.bench.flow_plot import LINES, Sample
from ops.bench.plot import Line, Panel, drawing
from ops.local import LocalStack
from ops.sandbox.process import SandboxProcess
from producer.client import Producer

CAMPAIGN = "outage"
SPARE = 1.5
SETTLING_TASKS = 2
ENDING_SECONDS = 300.0
UNDER_WAY = [status.value for status in Status if not status.final and status is not Status.WAITING]
NAMES = ("one", "two", "three", "four")


@dataclass(frozen=True)
class Fault:
    """How the first API fails, and how that ends."""

    begin: Callable[[Api], None]
    end: Callable[[Api], None]


def _asked(**faults: object) -> Callable[[Api], None]:
    def ask(api: Api) -> None:
        httpx.post(f"{api.box.url}/sandbox/faults", json=faults).raise_for_status()

    return ask


FAULTS: Mapping[str, Fault] = {
    "down": Fault(lambda api: api.stop(), lambda api: api.start()),
    "key": Fault(_asked(refuse_key=True), _asked(refuse_key=False)),
    "silent": Fault(_asked(lose_answer=1.0), _asked(lose_answer=0.0)),  # it takes the jobs, and does not say so
}


@dataclass(frozen=True)
class Phase:
    name: str
    seconds: float


@dataclass
class Ledger:
    """What became of the jobs, and what the APIs were paid for. `jobs`: those that were begun."""

    jobs: int = 0
    ended: dict[str, int] = field(default_factory=dict)
    paid: dict[str, int] = field(default_factory=dict)  # by API
    twice: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        ended = ", ".join(f"{count} {status}" for status, count in sorted(self.ended.items()))
        paid = ", ".join(f"{count} by {name}" for name, count in self.paid.items())
        return f"{self.jobs} jobs: {ended}; paid for: {paid}; paid twice: {len(self.twice)}, lost: {len(self.lost)}"


def phases(options: argparse.Namespace) -> list[Phase]:
    unit = options.phase_seconds
    return [Phase("all well", unit), Phase(options.fault, options.outage_seconds), Phase("well again", unit)]


@contextmanager
def running(folder: Path, options: argparse.Namespace) -> Iterator[tuple[dict[str, Api], Producer]]:
    """The sandboxes and the stack, with the jobs enqueued; everything is gone afterwards."""
    names = NAMES[: options.upstreams]
    with ExitStack() as exits:
        boxes = {name: exits.enter_context(_sandbox(folder / name, options)) for name in names}
        port = free_port()
        listed = [{"name": name, "url": box.url} for name, box in boxes.items()]
        callbacks: dict[str, Any] = {"public_url": f"http://127.0.0.1:{port}"} if options.callbacks else {}
        settings = Settings.load(
            {},
            data_dir=folder / "data",
            upstreams=listed,
            receiver_port=port,
            ask_accounts=False,
            pause_seconds=options.pause_seconds,
            unsure_limit_seconds=options.unsure_seconds,
            **callbacks,
        )
        stack = exits.enter_context(LocalStack(settings))
        stack.start_server()
        producer = exits.enter_context(Producer(stack.settings))
        enqueue(producer, _enough(options), CAMPAIGN)
        stack.start_rest()
        yield {name: Api(box, options.cores) for name, box in boxes.items()}, producer


def _sandbox(place: Path, options: argparse.Namespace) -> SandboxProcess:
    place.mkdir()
    low, high = options.task_seconds
    flags = ["--task-seconds", str(low), str(high), "--accounts", str(options.accounts), "--shrink", "16"]
    flags += ["--core-size", str(options.cores), "--seed", "1", "--personality", options.personality]
    return SandboxProcess(place, *flags)


def _enough(options: argparse.Namespace) -> int:
    seconds = sum(phase.seconds for phase in phases(options))
    at_once = options.upstreams * options.accounts * options.cores
    return int(SPARE * at_once * seconds * 2 / sum(options.task_seconds))


def watch(apis: Mapping[str, Api], store: JobStore, seconds: float, began: float) -> Iterator[dict[str, Sample]]:
    """How each stands, every tenth of a second."""
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        yield {name: _sample(name, api, store, now - began) for name, api in apis.items()}
        time.sleep(max(0.0, SAMPLE_SECONDS - (time.monotonic() - now)))


def _sample(name: str, api: Api, store: JobStore, at: float) -> Sample:
    flow, seen = store.throttle.read(name)
    running, waiting = api.working()
    return Sample(at, seen.held, running, waiting, api.capacity, flow.slots)


def finish(apis: Mapping[str, Api], producer: Producer) -> Ledger:
    """Begin nothing more, let the rest end, and compare the APIs' ledgers with the records."""
    campaign = producer.campaign(CAMPAIGN)
    campaign.pause()
    deadline = time.monotonic() + ENDING_SECONDS
    while time.monotonic() < deadline and any(producer.store.counts(CAMPAIGN).get(one) for one in UNDER_WAY):
        time.sleep(SAMPLE_SECONDS)
    campaign.cancel()
    statuses = {job.id: job.status for job in campaign.jobs() if job.claims}
    return judged(statuses, {name: api.accepted() for name, api in apis.items()})


def judged(statuses: Mapping[str, Status], entries: Mapping[str, Sequence[Any]]) -> Ledger:
    """
    Args:
        statuses: what became of the jobs that were begun.
        entries: of each API's ledger.
    """
    tokens = {name: [entry["token"].partition("/")[0] for entry in each] for name, each in entries.items()}
    paid = Counter(job for jobs in tokens.values() for job in jobs)
    found = Ledger(len(statuses), dict(Counter(status.value for status in statuses.values())))
    found.paid = {name: len(jobs) for name, jobs in tokens.items()}
    found.twice = sorted(name for name, count in paid.items() if count > 1)
    strange = paid.keys() - statuses.keys()  # paid for, and no record says so
    found.lost = sorted(strange | {name for name, status in statuses.items() if not status.final})
    return found


def busy(samples: Sequence[Sample], task_seconds: float) -> float | None:
    """The share of its cores that worked, once the phase had settled; None where it had none."""
    settled = [one for one in samples if one.at >= samples[0].at + SETTLING_TASKS * task_seconds] or samples[-1:]
    capacity = sum(one.capacity for one in settled)
    return sum(min(one.running, one.capacity) for one in settled) / capacity if capacity else None


def run(folder: Path, options: argparse.Namespace) -> tuple[dict[str, list[Sample]], dict[str, Any], Ledger]:
    fault = FAULTS[options.fault]
    samples: dict[str, list[Sample]] = {name: [] for name in NAMES[: options.upstreams]}
    shares: dict[str, Any] = {}
    with running(folder, options) as (apis, producer):
        began = time.monotonic()
        well, failing, again = phases(options)
        for phase, enter in ((well, None), (failing, fault.begin), (again, fault.end)):
            if enter is not None:
                enter(apis[NAMES[0]])
            seen = list(watch(apis, producer.store, phase.seconds, began))
            for name in apis:
                samples[name] += [one[name] for one in seen]
            task_seconds = sum(options.task_seconds) / 2
            shares[phase.name] = {name: busy([one[name] for one in seen], task_seconds) for name in apis}
            print(f"{phase.name:<12} busy: {_told(shares[phase.name])}", flush=True)
        ledger = finish(apis, producer)
    print(ledger.line, flush=True)
    return samples, shares, ledger


def _told(shares: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {'no cores' if share is None else f'{share:.1%}'}" for name, share in shares.items())


def plot(samples: Mapping[str, Sequence[Sample]], options: argparse.Namespace) -> str:
    """A panel for each API."""
    marks, at = [], 0.0
    for phase in phases(options):
        marks.append((at, phase.name))
        at += phase.seconds
    panels = []
    for name, seen in samples.items():
        lines = [Line(what, colour, [(one.at, value(one)) for one in seen]) for what, colour, value in LINES]
        panels.append(Panel(lines, marks, unit=name, height=240))
    return drawing(panels)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="blendq-outage-") as folder:
        samples, shares, ledger = run(Path(folder), options)
    (options.out / "outage.svg").write_text(plot(samples, options), encoding="utf-8")
    whole = {"busy": shares, "ledger": asdict(ledger)}
    (options.out / "outage.json").write_text(json.dumps(whole, indent=1), encoding="utf-8")
    return 1 if ledger.twice or ledger.lost else 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m ops.bench.outage", description=__doc__.partition("\n")[0])
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the plot and the numbers go")
    made.add_argument("--upstreams", type=int, choices=range(1, len(NAMES) + 1), default=2)
    made.add_argument("--fault", choices=sorted(FAULTS), default="down", help="what the first one does")
    made.add_argument("--accounts", type=int, default=3, help="of each API")
    made.add_argument("--cores", type=int, default=3, help="of each account")
    made.add_argument("--task-seconds", type=float, nargs=2, default=(3.0, 6.0), metavar=("MIN", "MAX"))
    made.add_argument("--phase-seconds", type=float, default=30.0, help="before and after the outage")
    made.add_argument("--outage-seconds", type=float, default=60.0)
    made.add_argument("--pause-seconds", type=float, default=10.0, help="BLENDQ_PAUSE_SECONDS")
    made.add_argument("--unsure-seconds", type=float, default=120.0, help="BLENDQ_UNSURE_LIMIT_SECONDS")
    made.add_argument("--no-callbacks", dest="callbacks", action="store_false", help="the APIs are asked instead")
    made.add_argument("--personality", default="plus")
    return made


if __name__ == "__main__":
    sys.exit(main())

"""How well the flow keeps the API busy and follows it: the real stack on a sandbox whose accounts come and go.

    python -m ops.bench.flow --out DIR

starts everything, goes through the phases (from nothing; steady; half of the accounts gone; all back; the API down),
and writes `flow.svg` (jobs in flight, tasks worked on, capacity, over time), `flow.json` (what each phase came to) and
`samples.json`. Tasks take seconds instead of minutes; everything else is as it is by default.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from jobs.request import BlendRequest
from jobs.settings import Settings
from ops.bench.flow_delays import delays
from ops.bench.flow_plot import Sample, plot
from ops.local import LocalStack
from ops.sandbox.process import SandboxProcess
from producer.client import Producer

SAMPLE_SECONDS = 0.1
# Enough for what the API can do in the whole run, twice.
SPARE = 2
SETTLING_TASKS = 2
STEADY = "steady"
EXPRESS_SECONDS = 1.5


@dataclass(frozen=True)
class Phase:
    """`accounts` None: the API is down."""

    name: str
    seconds: float
    accounts: int | None


@dataclass(frozen=True)
class Outcome:
    """What a phase came to, but for its first two task times (`settled`: the first one, for the others)."""

    name: str
    busy_share: float
    answers: dict[str, int]
    slots: int
    followed_after_seconds: float | None

    @property
    def line(self) -> str:
        total = max(1, sum(self.answers.values()))
        shares = ", ".join(f"{code}: {count / total:.1%}" for code, count in sorted(self.answers.items()))
        after = "never" if self.followed_after_seconds is None else f"after {self.followed_after_seconds:.1f} s"
        return f"{self.name:<12} busy {self.busy_share:.1%}, slots {self.slots}, followed {after}; answers {shares}"


class Api:
    """The sandbox, and what it says of itself."""

    def __init__(self, box: SandboxProcess, cores: int) -> None:
        self.box = box
        self.cores = cores
        self._up = True
        self._http = httpx.Client(timeout=5)

    def stop(self) -> None:
        self.box.kill()
        self._up = False

    def start(self) -> None:
        self.box.start()
        self._up = True

    def resize(self, accounts: int) -> None:
        if not self._up:
            self.start()
        self._http.post(f"{self.box.url}/sandbox/accounts", json={"accounts": accounts}).raise_for_status()

    def working(self) -> tuple[int, int]:
        """How many tasks run and wait on the accounts that it has."""
        if not self._up:
            return 0, 0
        rows = self._http.get(f"{self.box.url}/sandbox/accounts").json()
        return sum(row["runningCount"] for row in rows), sum(row["queueCount"] for row in rows)

    def answers(self) -> Counter[str]:
        if not self._up:
            return Counter()
        # Entries that are not wanted are skipped: the list of all that was accepted grows long.
        return Counter(self._http.get(f"{self.box.url}/sandbox/ledger?since=1000000000").json()["answers"])

    def accepted(self) -> list[dict[str, Any]]:
        """All that it was paid for."""
        entries: list[dict[str, Any]] = self._http.get(f"{self.box.url}/sandbox/ledger").json()["accepted"]
        return entries

    @property
    def capacity(self) -> int:
        """The cores of all its accounts."""
        if not self._up:
            return 0
        return self.cores * len(self._http.get(f"{self.box.url}/sandbox/accounts").json())


@contextmanager
def running(folder: Path, options: argparse.Namespace) -> Iterator[tuple[Api, Producer]]:
    """The sandbox and the stack, with the jobs enqueued; everything is gone afterwards."""
    low, high = options.task_seconds
    flags = ["--task-seconds", str(low), str(high), "--accounts", str(options.accounts), "--shrink", "16"]
    flags += ["--core-size", str(options.cores), "--queue-size", str(options.places), "--seed", "1"]
    flags += ["--personality", options.personality, *(["--late-22"] if options.late_22 else [])]
    place = folder / "api"
    place.mkdir()
    with ExitStack() as exits:
        box = exits.enter_context(SandboxProcess(place, *flags))
        port = free_port()
        given: dict[str, Any] = {"waiting_per_running": options.waiting, "slots": options.slots}
        given["ask_accounts"] = options.ask_accounts
        if options.personality != "gateway":
            given["public_url"] = f"http://127.0.0.1:{port}"
        settings = Settings.load({}, data_dir=folder / "data", api_url=box.url, receiver_port=port, **given)
        stack = exits.enter_context(LocalStack(settings))
        stack.start_server()
        producer = exits.enter_context(Producer(stack.settings))
        enqueue(producer, options.jobs or _enough(options), "flow")
        stack.start_rest()
        yield Api(box, options.cores), producer


def _enough(options: argparse.Namespace) -> int:
    low, high = options.task_seconds
    return int(SPARE * options.accounts * options.cores * sum(p.seconds for p in phases(options)) * 2 / (low + high))


def enqueue(producer: Producer, count: int, campaign: str) -> None:
    """Jobs that no two are alike, with few and small pictures."""
    side = next(n for n in itertools.count(2) if n * (n - 1) >= count)
    pictures = [producer.images.put_bytes(_picture(number), name=str(number)).digest for number in range(side)]
    pairs = itertools.islice(itertools.permutations(pictures, 2), count)
    for _ in producer.enqueue_many((BlendRequest(images=pair) for pair in pairs), campaign=campaign):
        pass


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _picture(number: int) -> bytes:
    out = io.BytesIO()
    Image.frombytes("RGB", (24, 24), random.Random(number).randbytes(24 * 24 * 3)).save(out, "PNG")  # noqa: S311
    return out.getvalue()


def phases(options: argparse.Namespace) -> list[Phase]:
    unit, accounts = options.phase_seconds, options.accounts
    return [
        Phase("from nothing", unit, accounts),
        Phase(STEADY, 2 * unit, accounts),
        Phase("half gone", unit, max(1, accounts // 2)),
        Phase("all back", unit, accounts),
        Phase("API down", unit / 2, None),
        Phase("up again", unit, accounts),
    ]


def watch(api: Api, producer: Producer, phase: Phase, began: float) -> Iterator[Sample]:
    """Look every tenth of a second, until the phase is over."""
    end = time.monotonic() + phase.seconds
    express = _express(producer)
    while (now := time.monotonic()) < end:
        next(express)
        flow, seen = producer.store.throttle.read()
        running, waiting = api.working()
        capacity = (phase.accounts or 0) * api.cores
        yield Sample(now - began, seen.held, running, waiting, capacity, flow.slots)
        time.sleep(max(0.0, SAMPLE_SECONDS - (time.monotonic() - now)))


def _express(producer: Producer) -> Iterator[None]:
    """Enqueue an urgent job every few seconds; to be called often."""
    for number in itertools.count():
        until = time.monotonic() + EXPRESS_SECONDS
        while time.monotonic() < until:
            yield
        pictures = (_picture(-1 - number), _picture(time.monotonic_ns()))
        producer.enqueue(BlendRequest(images=pictures, priority=9), campaign="express")


def outcome(phase: Phase, samples: Sequence[Sample], answers: Counter[str], task_seconds: float) -> Outcome:
    settled = [one for one in samples if one.at >= samples[0].at + SETTLING_TASKS * task_seconds] or samples[-1:]
    busy = sum(min(one.running, one.capacity) for one in settled)
    followed = next(
        (one.at - samples[0].at for one in samples if abs(one.slots - one.capacity) <= max(1, one.capacity / 10)), None
    )
    share = busy / max(1, sum(one.capacity for one in settled))
    return Outcome(phase.name, share, dict(answers), samples[-1].slots, followed)


def run(folder: Path, options: argparse.Namespace) -> tuple[list[Sample], list[Outcome], dict[str, str]]:
    samples: list[Sample] = []
    outcomes: list[Outcome] = []
    told: dict[str, str] = {}
    with running(folder, options) as (api, producer):
        began = time.monotonic()
        for phase in phases(options):
            _enter(api, phase)
            since, before = producer.store.now(), api.answers()
            seen = list(watch(api, producer, phase, began))
            outcomes.append(outcome(phase, seen, api.answers() - before, sum(options.task_seconds) / 2))
            print(outcomes[-1].line, flush=True)
            samples += seen
            if phase.name == STEADY:
                told = delays(producer.store, since, producer.store.now(), ("flow", "express"))
    return samples, outcomes, told


def _enter(api: Api, phase: Phase) -> None:
    if phase.accounts is None:
        api.stop()
    else:
        api.resize(phase.accounts)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="blendq-flow-") as folder:
        samples, outcomes, told = run(Path(folder), options)
    for name, values in told.items():
        print(f"{name:<34} {values}")
    (options.out / "samples.json").write_text(json.dumps([asdict(one) for one in samples]), encoding="utf-8")
    whole = {"phases": [asdict(one) for one in outcomes], "delays": told}
    (options.out / "flow.json").write_text(json.dumps(whole, indent=1), encoding="utf-8")
    starts = list(itertools.accumulate((phase.seconds for phase in phases(options)), initial=0.0))
    names = [(at, phase.name) for at, phase in zip(starts, phases(options), strict=False)]
    (options.out / "flow.svg").write_text(plot(samples, names), encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m ops.bench.flow", description=__doc__.partition("\n")[0])
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the plot and the numbers go")
    made.add_argument("--accounts", type=int, default=10)
    made.add_argument("--cores", type=int, default=3, help="of each account")
    made.add_argument("--places", type=int, default=10, help="in each account's queue")
    made.add_argument("--task-seconds", type=float, nargs=2, default=(3.0, 6.0), metavar=("MIN", "MAX"))
    made.add_argument("--phase-seconds", type=float, default=30.0, help="most phases last so long")
    made.add_argument("--jobs", type=int, help="how many are enqueued (default: twice what the API can do)")
    made.add_argument("--waiting", type=float, metavar="SHARE", help="BLENDQ_WAITING_PER_RUNNING")
    made.add_argument("--slots", type=int, help="BLENDQ_SLOTS: a fixed number, to compare")
    made.add_argument("--ask-accounts", action="store_true", help="BLENDQ_ASK_ACCOUNTS; else it is found by watching")
    made.add_argument("--personality", default="open-source")
    made.add_argument("--late-22", action="store_true", help="the first that waits is told 1")
    return made


if __name__ == "__main__":
    sys.exit(main())

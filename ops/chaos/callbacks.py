"""The receiver under fire: a storm of true callbacks beside slow senders, or a million forged ones.

    python -m ops.chaos.callbacks storm --callbacks 100000 --seconds 60 --slow 1000 --json
    python -m ops.chaos.callbacks forge --count 1000000 --json

A real receiver process, a real server that writes every change to the disk, real jobs. Exit code 0 only when nothing
that was acknowledged is missing from the records, nothing forged is in them, and no answer was a 5xx but 503.

The true callbacks are sent when they are due, on a bounded number of open connections. `milliseconds` is from when one
was sent; `milliseconds_after_due` from when it should have been, the wait for a free connection included. With
`--seconds 0.1` all are due at once: `per_second` then tells how many one receiver makes durable.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from jobs import events
from jobs.attempt import TaskStatus
from jobs.job import Job
from jobs.policy import Policy
from jobs.request import BlendRequest
from jobs.server import connect
from jobs.settings import Settings
from jobs.store import JobStore
from ops.chaos.callers import STEPS, Heard, Target, forgers, honest, name_of, slow, task_of
from ops.child import Child
from ops.embedded import EmbeddedServer
from ops.ownership import Ownership

FORGE_JOBS = 1000
FORGE_PROCESSES = 2
FORGE_SECONDS = 3600.0
MEMORY_EVERY_SECONDS = 1.0
PAGE = 500
STOP_SECONDS = 10.0

T = TypeVar("T")


@dataclass(frozen=True)
class Stage:
    """A receiver that runs, the store behind it, and how to call it."""

    store: JobStore
    target: Target
    receiver: Child

    def jobs(self) -> Iterator[Job]:
        return self.store.campaign_jobs("default", PAGE)

    def digest(self) -> str:
        """Of all records: it tells whether any changed."""
        whole = hashlib.sha256()
        for job in self.jobs():
            whole.update(job.model_dump_json().encode())
        return whole.hexdigest()


@contextmanager
def stage(jobs: int, seconds: float) -> Iterator[Stage]:
    """Everything in a folder of its own, which is gone afterwards. Every job's first attempt is committed."""
    with tempfile.TemporaryDirectory(prefix="blendq-storm-") as folder:
        secret = secrets.token_urlsafe(32)
        settings = Settings(data_dir=Path(folder), receiver_port=0, hook_secret=secret)
        with Ownership(settings.data_dir) as owner, EmbeddedServer(settings, owner):
            store = JobStore(connect(settings.redis_address()), Policy.from_settings(settings))
            _add_jobs(store, jobs)
            command = [
                sys.executable,
                "-m",
                "ops.cli",
                "receiver",
                "--announce-file",
                str(Path(folder, "receiver.address")),
            ]
            receiver = Child("receiver", command, settings.to_environment(), folder=Path(folder), reaper=owner.reaper)
            receiver.start()
            receiver.wait_until_ready()
            port = int(receiver.announcement.read_text().rpartition(":")[2])
            try:
                yield Stage(store, Target(port, secret.encode(), jobs, seconds), receiver)
            finally:
                receiver.ask_to_end()
                receiver.end(STOP_SECONDS)
                store.close()


def _add_jobs(store: JobStore, count: int) -> None:
    now, first = store.now(), store.next_orders(count)
    pictures = ("sha256:" + "a" * 64, "sha256:" + "b" * 64)
    for start in range(0, count, PAGE):
        numbers = range(start, min(start + PAGE, count))
        request = BlendRequest(images=pictures)
        made = [Job(id=name_of(n), request=request, created_at=now, due_at=now, order=first + n) for n in numbers]
        store.create(made)
        for event in (events.Release(), events.Claim("storm"), events.Commit(1)):
            store.apply_many([(job.id, event) for job in made])


# The runs ----------------------------------------------------------------------------------------------------------


def storm(callbacks: int, seconds: float, senders: int) -> dict[str, Any]:
    """True callbacks beside slow senders. What was acknowledged must be in the records; the rest is for polling."""
    jobs = max(1, callbacks // len(STEPS))
    with stage(jobs, seconds) as on, _processes(2) as pool:
        others = pool.submit(slow, on.target, senders)
        calls = pool.submit(honest, on.target, callbacks)
        used = _watch(on.receiver, [calls])
        heard, cuts = calls.result(), others.result()
        lost = [job for job, step in heard.acknowledged.items() if not _has(on.store.get(name_of(job)), job, step)]
        unheard = jobs - sum(step >= len(STEPS) - 2 for step in heard.acknowledged.values())
    report = _report(heard, used) | {"slow_senders": senders, "slow_senders_cut": cuts}
    report |= {"lost": len(lost), "finished_jobs_left_to_polling": unheard}
    return report | {"ok": not lost and _no_error(heard)}


def forge(count: int) -> dict[str, Any]:
    """Forged callbacks for real jobs. No record may change."""
    with stage(FORGE_JOBS, FORGE_SECONDS) as on, _processes(FORGE_PROCESSES) as pool:
        before = on.digest()
        share = -(-count // FORGE_PROCESSES)
        calls = [pool.submit(forgers, on.target, min(share, count - start), start) for start in range(0, count, share)]
        used = _watch(on.receiver, calls)
        heard = Heard()
        for call in calls:
            heard.codes += call.result().codes
            heard.seconds = max(heard.seconds, call.result().seconds)
            heard.cpu_seconds += call.result().cpu_seconds
        unchanged = before == on.digest()
    refused = set(heard.codes) <= {"404", "429"} and heard.codes.total() == count
    return _report(heard, used) | {"records_changed": not unchanged, "ok": unchanged and refused}


def _has(job: Job, number: int, step: int) -> bool:
    """Whether the record knows at least what this step said."""
    attempt = job.attempt
    status, percent = STEPS[min(step, len(STEPS) - 1)]
    if attempt is None or attempt.task_id != task_of(number):
        return False
    if status == "SUCCESS":
        return bool(attempt.image_url)
    return status == TaskStatus.SUBMITTED or bool(attempt.image_url) or (attempt.progress or 0) >= percent


def _no_error(heard: Heard) -> bool:
    return not any(code.startswith("5") and code != "503" for code in heard.codes) and not any(
        code.startswith("4") for code in heard.codes
    )


@contextmanager
def _processes(count: int) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        yield pool


@dataclass
class Used:
    """What the receiver used meanwhile: its resident memory again and again, and its processor time."""

    memory_mb: list[float]
    cpu_seconds: float


def _watch(receiver: Child, calls: Sequence[Future[Heard]]) -> Used:
    """Until all is said."""
    used = Used([_resident_mb(receiver)], -_cpu_seconds(receiver))
    while not all(call.done() for call in calls):
        time.sleep(MEMORY_EVERY_SECONDS)
        used.memory_mb.append(_resident_mb(receiver))
    used.cpu_seconds += _cpu_seconds(receiver)
    return used


def _cpu_seconds(receiver: Child) -> float:
    user, system = Path(f"/proc/{receiver.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _resident_mb(receiver: Child) -> float:
    for line in Path(f"/proc/{receiver.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def _report(heard: Heard, used: Used) -> dict[str, Any]:
    asked, memory = heard.codes.total(), used.memory_mb
    return {
        "answers": dict(heard.codes.most_common()),
        "seconds": round(heard.seconds, 1),
        "per_second": round(asked / heard.seconds) if heard.seconds else 0,
        "milliseconds": _percentiles(heard.latencies_ms),
        "milliseconds_after_due": _percentiles(heard.late_ms),
        "cpu_milliseconds_each": round(used.cpu_seconds * 1000 / asked, 3) if asked else 0,
        "callers_cpu_milliseconds_each": round(heard.cpu_seconds * 1000 / asked, 3) if asked else 0,
        "memory_mb": {
            "first": memory[0],
            "a_quarter_in": memory[len(memory) // 4],
            "last": memory[-1],
            "most": max(memory),
        },
    }


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {f"p{part}": round(ordered[int(len(ordered) * part / 100)], 1) for part in (50, 99) if ordered} | (
        {"most": round(ordered[-1], 1)} if ordered else {}
    )


# The command -------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    report = storm(given.callbacks, given.seconds, given.slow) if given.run == "storm" else forge(given.count)
    print(json.dumps(report) if given.json else json.dumps(report, indent=2))
    return 0 if report["ok"] else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ops.chaos.callbacks", description="The receiver under fire.")
    runs = parser.add_subparsers(dest="run", required=True)
    one = runs.add_parser("storm", help="true callbacks beside slow senders")
    one.add_argument("--callbacks", type=int, default=100_000)
    one.add_argument("--seconds", type=float, default=60.0, help="over which they are spread")
    one.add_argument("--slow", type=int, default=1000, help="slow senders beside them")
    other = runs.add_parser("forge", help="forged callbacks for real jobs")
    other.add_argument("--count", type=int, default=1_000_000)
    for run in (one, other):
        run.add_argument("--json", action="store_true", help="on one line")
    return parser


if __name__ == "__main__":
    sys.exit(main())

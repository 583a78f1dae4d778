"""The APIs that long runs speak to: the stand-in, which answers at once, or the sandbox."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jobs.job import Job
from ops.bench.long_run.plan import Plan
from ops.bench.stand_in import ApiProcess, StandIn
from ops.reaper import Reaper
from ops.sandbox.journal import Journal

# Far more than is done here: it is not slots that are measured.
SANDBOX_OPTIONS = ("--accounts", "10", "--core-size", "3", "--queue-size", "10", "--shrink", "16", "--seed", "1")


@dataclass(frozen=True)
class Paid:
    """What an API has accepted: submissions, and of how many different blends."""

    submissions: int
    blends: int


class JudgedApi(Protocol):
    def paid(self) -> Paid: ...

    def is_of(self, job: Job, picture: bytes) -> bool:
        """Whether a picture is the one that it made for this job."""


class LongStandIn(StandIn):
    """It counts by the pictures that it was sent, and writes the task's id into the one that it makes."""

    def __init__(self, folder: Path, reaper: Reaper, port: int) -> None:
        super().__init__(folder, reaper, "--port", str(port), "--ledger", str(folder / "ledger"))

    def paid(self) -> Paid:
        ledger = self.ledger()
        return Paid(ledger.submissions, ledger.contents)

    def is_of(self, job: Job, picture: bytes) -> bool:
        return any(one.task_id is not None and one.task_id.encode() in picture for one in job.attempts)


class LongSandbox(ApiProcess):
    """Its ledger names the job of each submission; its pictures name what they were made from."""

    def __init__(self, folder: Path, reaper: Reaper, port: int, speed: float) -> None:
        self._ledger = folder / "data" / "ledger.jsonl"
        options = ["--port", str(port), "--speed", str(speed), "--data-dir", str(folder / "data"), *SANDBOX_OPTIONS]
        super().__init__("ops.sandbox", options, folder, reaper)

    def paid(self) -> Paid:
        return paid_by(Journal(self._ledger))

    def is_of(self, job: Job, picture: bytes) -> bool:
        return is_made_from(job.request.images, picture)


def paid_by(ledger: Journal) -> Paid:
    """By the job that each accepted submission names: each job has a blend of its own."""
    tokens = (entry["token"] for entry in ledger.entries() if entry["kind"] == "accepted")
    jobs = Counter(str(token).partition("/")[0] for token in tokens)
    return Paid(jobs.total(), len(jobs))


def is_made_from(images: Sequence[str], picture: bytes) -> bool:
    """Whether a picture of the sandbox's names these, by their digests."""
    return ",".join(image.removeprefix("sha256:") for image in images).encode() in picture


def api_of(plan: Plan, folder: Path, reaper: Reaper) -> LongStandIn | LongSandbox:
    """
    Args:
        plan: which one, and its port.
        folder: of what it keeps.
        reaper: ends it at the latest.
    """
    if plan.speed is None:
        return LongStandIn(folder, reaper, plan.api_port)
    return LongSandbox(folder, reaper, plan.api_port, plan.speed)

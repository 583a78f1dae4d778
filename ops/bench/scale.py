"""Scale: how large a run is. Full ones are for the table in docs/benchmarks.md, quick ones for a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PEERS = ("celery", "celery, everysec", "dramatiq", "taskiq", "asyncio script")


@dataclass(frozen=True)
class Scale:
    """How many of everything.

    Args:
        repetitions: of each contestant, in turn.
        enqueued: jobs.
        small_jobs: a repetition.
        big_jobs: a repetition.
        callbacks: in a storm.
        kept: jobs that are kept, at each of which a look is taken.
        waiting: jobs before an express job, in each of its tries.
        idle_seconds: how long the stack is watched that has nothing to do.
        phase_seconds: of the row about slots.
        slots_waiting: jobs that wait in it.
        peers: who is compared with, unless told otherwise.
        concurrency: submissions and downloads at once, everybody's.
        server: the program of the server that jobs are kept in; None for that of everybody's.
    """

    repetitions: int
    enqueued: int
    small_jobs: int
    big_jobs: int
    callbacks: int
    kept: tuple[int, ...]
    waiting: tuple[int, ...]
    idle_seconds: float
    phase_seconds: float
    slots_waiting: int
    peers: Sequence[str] = ("celery",)
    concurrency: int = 8
    server: Path | None = None


FULL = Scale(
    repetitions=5,
    enqueued=100_000,
    small_jobs=1000,
    big_jobs=60,
    callbacks=30_000,
    kept=(1_000, 10_000, 100_000),
    waiting=(0, 100, 1000),
    idle_seconds=60.0,
    phase_seconds=30.0,
    slots_waiting=100_000,
    peers=PEERS,
)
QUICK = Scale(
    repetitions=1,
    enqueued=5000,
    small_jobs=200,
    big_jobs=10,
    callbacks=5000,
    kept=(500, 2000),
    waiting=(0, 100),
    idle_seconds=5.0,
    phase_seconds=5.0,
    slots_waiting=1000,
)
SMALLEST = Scale(
    repetitions=1,
    enqueued=50,
    small_jobs=5,
    big_jobs=2,
    callbacks=50,
    kept=(10,),
    waiting=(0,),
    idle_seconds=0.5,
    phase_seconds=1.0,
    slots_waiting=100,
    peers=(),
)

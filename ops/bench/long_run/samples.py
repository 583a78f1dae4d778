"""Samples: how things stand again and again during a long run, kept in a file; and what happened between them."""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from jobs.job import Status
from jobs.server import connect
from ops.bench import parts
from ops.bench.stand_in import ApiProcess
from ops.local import LocalStack

ENQUEUEING, WORKING = "enqueueing", "working"
PRODUCER = "producer"
MB = 1 << 20


@dataclass(frozen=True)
class Sample:
    """How things stood.

    Args:
        at: seconds of the run so far; the time between one start of it and the next does not count.
        stage: of the plan.
        doing: what is being done.
        first: whether it only begins now.
        enqueued, waiting, finished: jobs.
        rss_mb: resident memory by part, its children included.
        cpu_seconds: processor time by part, since the sample before.
        redis_mb: what Redis says that its data take.
        rewriting: whether Redis has a child that rewrites its log; it counts among `rss_mb`, though it shares most.
        aof_mb, logs_mb: Redis' log, and the logs of all parts, on the disk.
    """

    at: float
    stage: int
    doing: str
    first: bool
    enqueued: int
    waiting: int
    finished: int
    rss_mb: Mapping[str, float]
    cpu_seconds: Mapping[str, float]
    redis_mb: float
    rewriting: bool
    aof_mb: float
    logs_mb: float


@dataclass(frozen=True)
class Window:
    """From one sample to a later one, in which the same was done all the while."""

    begin: Sample
    end: Sample
    cpu_seconds: Mapping[str, float]

    @property
    def seconds(self) -> float:
        return self.end.at - self.begin.at

    @property
    def jobs(self) -> int:
        """Those that were enqueued, or finished."""
        if self.end.doing == ENQUEUEING:
            return self.end.enqueued - self.begin.enqueued
        return self.end.finished - self.begin.finished

    @property
    def jobs_per_second(self) -> float:
        return self.jobs / self.seconds

    def cpu_ms_a_job(self, *parts: str) -> float:
        return sum(self.cpu_seconds.get(part, 0) for part in parts) * 1000 / self.jobs if self.jobs else 0


class Recorder:
    """Takes samples of a stack, and keeps them.

    Args:
        file: of samples, one a line; those of earlier starts are gone on with.
        stack: whose server runs.
        api: beside it.
        counts: asks how many jobs of the run there are, by status.
        every_seconds: how often.
    """

    def __init__(
        self,
        file: Path,
        stack: LocalStack,
        api: ApiProcess,
        counts: Callable[[], Mapping[str, int]],
        every_seconds: float,
    ) -> None:
        self._file = file
        self._stack = stack
        self._api = api
        self._counts = counts
        self._redis = connect(stack.settings.redis_address())
        self._every = every_seconds
        before = read(file)
        self._so_far = before[-1].at if before else 0.0
        self._began = math.nan
        self._stage, self._doing = 0, ""
        self._used: dict[tuple[str, int], float] = {}
        self._due = 0.0

    def begin(self, stage: int, doing: str) -> None:
        """From now on something else is done."""
        self._stage, self._doing = stage, doing
        if math.isnan(self._began):  # what a start has to do before is no part of the run
            self._began = time.monotonic()
        self._look(first=True)

    def look(self) -> None:
        """Take a sample if it is time. Cheap if not: to be called often."""
        if time.monotonic() >= self._due:
            self._look()

    def end(self) -> None:
        """Take the last sample of what has been done."""
        self._look()

    def close(self) -> None:
        self._redis.close()

    def _look(self, *, first: bool = False) -> None:
        self._due = time.monotonic() + self._every
        pids = self._stack.parts | {"upstream": [self._api.pid] if self._api.pid else []}
        uses = {(name, pid): parts.use(pid) for name, each in pids.items() for pid in each}
        if (own := parts.use_alone(os.getpid())) is not None:
            uses[PRODUCER, os.getpid()] = own  # the others are its children
        used: dict[str, float] = defaultdict(float)
        resident: dict[str, float] = defaultdict(float)
        for (name, pid), one in uses.items():
            used[name] += max(0.0, one.cpu_seconds - self._used.get((name, pid), 0))
            resident[name] += one.rss_mb
        self._used = {part: one.cpu_seconds for part, one in uses.items()}
        counts = self._counts()
        memory, log = self._redis.info("memory"), self._redis.info("persistence")
        sample = Sample(
            at=round(self._so_far + time.monotonic() - self._began, 3),
            stage=self._stage,
            doing=self._doing,
            first=first,
            enqueued=sum(counts.values()),
            waiting=counts.get(Status.WAITING, 0),
            finished=counts.get(Status.SUCCEEDED, 0),
            rss_mb={name: round(mb, 1) for name, mb in resident.items()},
            cpu_seconds={name: round(seconds, 2) for name, seconds in used.items()},
            redis_mb=round(memory["used_memory"] / MB, 1),
            rewriting=bool(log["aof_rewrite_in_progress"]),
            aof_mb=round(log["aof_current_size"] / MB, 1),
            logs_mb=round(sum(one.stat().st_size for one in self._stack.logs.iterdir()) / MB, 2),
        )
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(sample)) + "\n")


def read(file: Path) -> list[Sample]:
    """All samples of a run; none where it has not begun."""
    if not file.exists():
        return []
    return [Sample(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def windows(samples: Sequence[Sample], most: int) -> list[Window]:
    """All that was done, in about so many windows of equal numbers of samples."""
    together = math.ceil(sum(not one.first for one in samples) / most)
    found = []
    for phase in _phases(samples):
        for start in range(0, len(phase) - 1, together):
            chunk = phase[start : start + together + 1]
            used: Counter[str] = Counter()
            for one in chunk[1:]:
                used.update(one.cpu_seconds)
            found.append(Window(chunk[0], chunk[-1], used))
    return found


def _phases(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Samples between which the same was done, without a break."""
    starts = [number for number, one in enumerate(samples) if one.first] + [len(samples)]
    return [list(samples[begin:end]) for begin, end in pairwise(starts)]

"""RedisLimit: a bare pipeline that writes what a job's records amount to, on the server settings of ours."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from jobs.server import connect
from jobs.settings import Settings
from ops.bench import parts
from ops.embedded import EmbeddedServer
from ops.ownership import Ownership

# A job's life is eight changes, each of a record of about 800 bytes and a line of history of about 150.
CHANGES_A_JOB = 8
RECORD, LINE = b"r" * 800, b"h" * 150
CHANGES_A_ROUND_TRIP = 64


class RedisLimit:
    """
    Args:
        folder: for its server's data.
    """

    def __init__(self, folder: Path) -> None:
        self._settings = Settings(data_dir=folder)
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        owner = self._exits.enter_context(Ownership(self._settings.data_dir))
        self._server = self._exits.enter_context(EmbeddedServer(self._settings, owner))
        self._redis = connect(self._settings.redis_address())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._redis.close()
        self._exits.close()

    def measure(
        self, jobs: int, changes_a_job: int = CHANGES_A_JOB, a_round_trip: int = CHANGES_A_ROUND_TRIP
    ) -> dict[str, float]:
        """Write so many jobs' changes; as many in one round trip as a busy worker could gather."""
        before, began, own = parts.use(self._server.pid or 0).cpu_seconds, time.monotonic(), time.process_time()
        changes = [job for job in range(jobs) for _ in range(changes_a_job)]
        for start in range(0, len(changes), a_round_trip):
            pipeline = self._redis.pipeline()
            for job in changes[start : start + a_round_trip]:
                pipeline.hset(f"job:{job}", "doc", RECORD)
                pipeline.rpush(f"history:{job}", LINE)
            pipeline.execute()
        seconds = time.monotonic() - began
        server = parts.use(self._server.pid or 0).cpu_seconds - before
        cpu = time.process_time() - own + server
        return {"jobs/s": jobs / seconds, "CPU ms a job": cpu * 1000 / jobs, "redis ms": server * 1000 / jobs}

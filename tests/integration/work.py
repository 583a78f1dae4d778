"""What the tests of a job's work share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobs.job import Job
from tests.integration.workbench import Workbench

SLOW_TASKS = ("--speed", "100", "--task-seconds", "1000", "1000")
ENDLESS_TASKS = ("--task-seconds", "5000", "5000")


def paid_tokens(bench: Workbench) -> list[str]:
    return [entry["token"] for entry in bench.accepted()]


def reason(job: Job) -> str | None:
    return job.reason.kind if job.reason else None


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail

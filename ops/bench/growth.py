"""Growth: what a job, and a look at the jobs, costs while more and more of them are kept."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import redis

from jobs import events
from jobs.events import AnswerKind
from jobs.job import Job, Picture, TaskStatus
from jobs.policy import Policy
from jobs.queue import make_app
from jobs.request import BlendRequest
from jobs.server import connect
from jobs.settings import Settings
from jobs.store import JobStore
from ops.bench.report import Line, Row
from ops.embedded import EmbeddedServer
from ops.ownership import Ownership
from worker.context import Context
from worker.dispatch import dispatch
from worker.reconcile import sweep

PAGE = 250
IMAGES = ("sha256:" + "a" * 64, "sha256:" + "b" * 64)
CAMPAIGN = "kept"


def growth(folder: Path, sizes: Sequence[int]) -> Row:
    """A line for each size: all jobs before it are kept, finished."""
    settings = Settings(data_dir=folder / "growth", api_url="http://127.0.0.1:9", api_key="bench")
    lines: list[Line] = []
    with Ownership(settings.data_dir) as owner, EmbeddedServer(settings, owner):
        client = connect(settings.redis_address())
        store = JobStore(client, Policy.from_settings(settings))
        context = Context.open(settings, make_app(settings))
        for once in (dispatch, sweep):  # what only the first of them does is no part of a look
            once(context)
        empty, kept = _memory(client), 0
        for size in sizes:
            cpu = time.process_time()
            _finish_jobs(store, kept, size - kept)
            own = (time.process_time() - cpu) * 1000 / (size - kept)
            kept = size
            figures = {"CPU ms a job": own, "bytes of Redis a job": (_memory(client) - empty) / kept}
            figures |= _looks(client, settings, context)
            lines.append(Line(f"{size:,} jobs kept", {name: float(f"{value:.3g}") for name, value in figures.items()}))
        context.close()
        store.close()
    return Row(
        "growth", "One campaign; each job has had its whole life. CPU without the server's.", lines, compared=False
    )


def _looks(client: redis.Redis, settings: Settings, context: Context) -> dict[str, float]:
    steps: Mapping[str, Callable[[], object]] = {
        "campaign show": lambda: _command(settings, "campaign", "show", CAMPAIGN),
        "campaign list": lambda: _command(settings, "campaign", "list"),
        "dispatch": lambda: dispatch(context),
        "sweep": lambda: sweep(context),
    }
    found: dict[str, float] = {}
    for name, step in steps.items():
        commands, cpu = _commands(client), _cpu_seconds()
        step()
        found[f"{name} ms"] = (_cpu_seconds() - cpu) * 1000
        found[f"{name} commands"] = _commands(client) - commands
    return found


def _command(settings: Settings, *words: str) -> None:
    command = [sys.executable, "-m", "ops.cli", *words]
    env = settings.to_environment()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)  # noqa: S603


def _cpu_seconds() -> float:
    """Ours, and that of commands that have ended."""
    each = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in each)


def _memory(client: redis.Redis) -> int:
    return int(client.info("memory")["used_memory"])


def _commands(client: redis.Redis) -> int:
    """So far; asking counts as one, so of two counts the difference is one too large."""
    return int(client.info("stats")["total_commands_processed"]) + 1


def _finish_jobs(store: JobStore, first: int, count: int) -> None:
    for start in range(first, first + count, PAGE):
        numbers = range(start, min(start + PAGE, first + count))
        now, order = store.now(), store.next_orders(len(numbers))
        request = BlendRequest(images=IMAGES)
        store.create(
            [
                Job(
                    id=f"job_{number:07}",
                    campaign=CAMPAIGN,
                    request=request,
                    created_at=now,
                    due_at=now,
                    order=order + number - start,
                )
                for number in numbers
            ]
        )
        for step in range(len(_life(0))):
            store.apply_many([(f"job_{number:07}", _life(number)[step]) for number in numbers])


def _life(number: int) -> list[events.Event]:
    url, task = f"http://127.0.0.1:9/pictures/{number}.png", f"17000000{number:09}"
    picture = Picture(
        digest=f"sha256:{number:064x}", media_type="image/png", width=1024, height=1024, bytes=1 << 20, url=url
    )
    return [
        events.Release(),
        events.Claim("bench"),
        events.Commit(1),
        events.Answer(1, AnswerKind.ACCEPTED, task, None, 1, "Submit success"),
        events.TaskSeen(1, task, TaskStatus.SUCCESS, progress=100, image_url=url, source="callback"),
        events.Collected(1, picture),
    ]

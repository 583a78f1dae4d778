"""Growth: what a job, and a look at the jobs, costs while more and more of them are kept."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import redis

from jobs.policy import Policy
from jobs.queue import make_app
from jobs.server import connect
from jobs.settings import Settings
from jobs.store import JobStore
from ops.bench.kept import CAMPAIGN, copy, live
from ops.bench.report import Line, Row
from ops.embedded import EmbeddedServer
from ops.ownership import Ownership
from worker.context import Context
from worker.dispatch import dispatch
from worker.reconcile import sweep

# So many live before each look; the others are copies of the last one that did.
LIVED = 1000


def growth(folder: Path, sizes: Sequence[int], program: Path | None = None) -> Row:
    """A line for each size: all jobs before it are kept, finished.

    Args:
        folder: for the server.
        sizes: of the first, all jobs live.
        program: the server's; None for the usual one.
    """
    settings = Settings(data_dir=folder / "growth", api_url="http://127.0.0.1:9", api_key="bench")
    lines: list[Line] = []
    with Ownership(settings.data_dir) as owner, EmbeddedServer(settings, owner, program):
        client = connect(settings.redis_address())
        store = JobStore(client, Policy.from_settings(settings))
        context = Context.open(settings, make_app(settings))
        for once in (dispatch, sweep):  # what only the first of them does is no part of a look
            once(context)
        empty, kept = _memory(client), 0
        for size in sizes:
            lived = min(LIVED, size - kept) if kept else size
            if size - lived > kept:
                copy(store, client, kept, size - lived - kept)
            cpu, server, commands = time.process_time(), _server_seconds(client), _commands(client)
            live(store, size - lived, lived)
            figures = {
                "CPU ms a job": (time.process_time() - cpu) * 1000 / lived,
                "Redis CPU ms a job": (_server_seconds(client) - server) * 1000 / lived,
                "commands a job": (_commands(client) - commands) / lived,
            }
            kept = size
            figures["bytes of Redis a job"] = (_memory(client) - empty) / kept
            figures |= _looks(client, settings, context)
            lines.append(Line(f"{size:,} jobs kept", {name: float(f"{value:.3g}") for name, value in figures.items()}))
        context.close()
        store.close()
    return Row(
        "growth",
        "One campaign; the last 1,000 before each look have had their whole life, the others are copies.",
        lines,
        compared=False,
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


def _server_seconds(client: redis.Redis) -> float:
    cpu = client.info("cpu")
    return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])


def _commands(client: redis.Redis) -> int:
    """So far; asking counts as one, so of two counts the difference is one too large."""
    return int(client.info("stats")["total_commands_processed"]) + 1

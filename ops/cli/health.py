"""`blendq health …`: whether one part really does its work. For the healthchecks of containers, and for people."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click

from jobs.errors import BlendqError
from jobs.settings import Settings
from ops.cli.output import data_dir_option, json_option, print_json
from ops.health import api_health, beat_health, flower_health, receiver_health, sandbox_health, scheduler_health
from ops.notes import error


@click.group()
def health() -> None:
    """Tell whether a part does its work: exit code 0 when it does. Asked on its own machine, or in its container."""


@health.command("worker")
@data_dir_option
@json_option
def worker(data_dir: Path | None, as_json: bool) -> int:
    """The worker of this machine answers over the broker, listens to every queue, and takes what waits there."""
    from ops.health_worker import worker_health  # noqa: PLC0415  (loads Celery, and the other checks do without)

    return _tell("worker", as_json, lambda: worker_health(Settings.load(data_dir=data_dir)))


@health.command("beat")
@data_dir_option
@json_option
def beat(data_dir: Path | None, as_json: bool) -> int:
    """The clock's ticks reach the broker: the last one left a moment ago."""
    return _tell("beat", as_json, lambda: beat_health(Settings.load(data_dir=data_dir)))


@health.command("scheduler")
@data_dir_option
@json_option
def scheduler(data_dir: Path | None, as_json: bool) -> int:
    """The scheduler of this machine looked a moment ago whether something is due."""
    return _tell("scheduler", as_json, lambda: scheduler_health(Settings.load(data_dir=data_dir)))


@health.command("receiver")
@data_dir_option
@json_option
def receiver(data_dir: Path | None, as_json: bool) -> int:
    """The receiver answers at its port, and Redis answers it."""
    return _tell("receiver", as_json, lambda: receiver_health(Settings.load(data_dir=data_dir)))


@health.command("api")
@data_dir_option
@json_option
def api(data_dir: Path | None, as_json: bool) -> int:
    """The HTTP API answers at its port, and jobs can be enqueued."""
    return _tell("api", as_json, lambda: api_health(Settings.load(data_dir=data_dir)))


@health.command("flower")
@click.option("--url", default="http://127.0.0.1:5555", show_default=True, help="Where flower is.")
@json_option
def flower(url: str, as_json: bool) -> int:
    """Flower shows its page of workers to whoever logs in as FLOWER_BASIC_AUTH says, and to nobody else."""
    return _tell("flower", as_json, lambda: flower_health(url, os.environ.get("FLOWER_BASIC_AUTH", "")))


@health.command("sandbox")
@click.option("--url", default="http://127.0.0.1:8792", show_default=True, help="Where the sandbox is.")
@json_option
def sandbox(url: str, as_json: bool) -> int:
    """The simulated API answers, and can tell how its tasks are."""
    return _tell("sandbox", as_json, lambda: sandbox_health(url))


def _tell(part: str, as_json: bool, check: Callable[[], str]) -> int:
    try:
        says, healthy = check(), True
    except BlendqError as problem:
        says, healthy = str(problem), False
    if as_json:
        print_json({"part": part, "healthy": healthy, "says": says})
    elif healthy:
        click.echo(says)
    else:
        error(says)
    return 0 if healthy else 1

"""`blendq health …`: whether one part really does its work. For the healthchecks of containers, and for people."""

from __future__ import annotations

import base64
import glob
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click
import redis

from jobs.errors import BlendqError, SettingsError
from jobs.settings import Settings
from ops.cli.output import data_dir_option, error, json_option, print_json

if TYPE_CHECKING:
    from celery import Celery

HTTP_SECONDS = 10.0
ANSWER_SECONDS = 5.0
# With wake-ups in its queues, a worker with a free thread takes one within milliseconds.
PROGRESS_SECONDS = 5.0
POLL_SECONDS = 0.2
# Ticks leave every second.
TICK_AGE_SECONDS = 15.0
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (how a server that listens everywhere is reached)


class UnhealthyError(BlendqError):
    """The part does not do its work; says what is wrong."""

    code: ClassVar[str] = "unhealthy"
    retryable: ClassVar[bool] = True


@click.group()
def health() -> None:
    """Tell whether a part does its work: exit code 0 when it does. Asked on its own machine, or in its container."""


# worker ------------------------------------------------------------------------------------------------------------


@health.command("worker")
@data_dir_option
@json_option
def worker(data_dir: Path | None, as_json: bool) -> int:
    """The worker of this machine answers over the broker, listens to every queue, and takes what waits there."""
    return _tell("worker", as_json, lambda: worker_health(Settings.load(data_dir=data_dir)))


def worker_health(settings: Settings, host: str | None = None) -> str:
    """Ask a worker itself, over the broker.

    Args:
        settings: where the broker is.
        host: the worker's machine; by default this one. Of several workers there, the first to answer counts.

    Raises:
        UnhealthyError: it does not answer, misses a queue, or takes nothing although wake-ups wait and threads are
            free; or Redis does not answer.
    """
    from kombu.exceptions import OperationalError  # noqa: PLC0415  (slow to load, and the other checks do without)

    from jobs.queue import make_app  # noqa: PLC0415  (as above)
    from jobs.server import connect  # noqa: PLC0415  (as above)

    try:
        with connect(settings.redis_address()) as client, make_app(settings) as app:
            client.ping()  # gives up in time, while the broker's own connection would be tried again and again
            return _worker_health(app, client, host or socket.gethostname())
    except (redis.RedisError, OperationalError) as problem:
        raise UnhealthyError(f"Redis does not answer ({type(problem).__name__}); is it running?") from problem


def _worker_health(app: Celery, client: redis.Redis, host: str) -> str:
    pattern = f"blendq@{glob.escape(host)}-[0-9]*"
    found = app.control.inspect(pattern=pattern, matcher="glob", timeout=ANSWER_SECONDS, limit=1).stats()
    if not found:
        raise UnhealthyError(f"no worker of {host} answers over the broker; look into its log, or start it again")
    (name,) = found
    queues = [queue.name for queue in app.conf.task_queues]
    missed = set(queues) - _queues_of(app, name)
    if missed:
        raise UnhealthyError(f"{name} does not listen to {', '.join(sorted(missed))}; start it again")
    lists = [app.conf.broker_transport_options["global_keyprefix"] + queue for queue in queues]
    handled = _handled(found[name])
    give_up_at = time.monotonic() + PROGRESS_SECONDS
    while waiting := _waiting(client, lists):
        stats = _ask(app, name, "stats")
        if _handled(stats) > handled or len(_ask(app, name, "active")) >= stats["pool"]["max-concurrency"]:
            return f"{name} answers and is busy; {waiting} wake-ups wait"
        if time.monotonic() > give_up_at:
            raise UnhealthyError(f"{name} answers, but takes none of the {waiting} wake-ups that wait; start it again")
        time.sleep(POLL_SECONDS)
    return f"{name} answers and listens to every queue; {handled} wake-ups taken so far, none waits"


def _ask(app: Celery, name: str, question: str) -> Any:
    """
    Raises:
        UnhealthyError: there is no answer.
    """
    answers = getattr(app.control.inspect([name], timeout=ANSWER_SECONDS, limit=1), question)()
    if not answers or name not in answers:
        raise UnhealthyError(f"{name} answered once, and then no more; look into its log, or start it again")
    return answers[name]


def _queues_of(app: Celery, name: str) -> set[str]:
    return {str(queue["name"]) for queue in _ask(app, name, "active_queues")}


def _handled(stats: Mapping[str, Any]) -> int:
    """How many wake-ups the worker has taken since it started."""
    return sum(int(count) for count in stats["total"].values())


def _waiting(client: redis.Redis, lists: Sequence[str]) -> int:
    """How many wake-ups nobody has taken yet."""
    lengths: list[Any] = [client.llen(name) for name in lists]
    return sum(lengths)


# beat --------------------------------------------------------------------------------------------------------------


@health.command("beat")
@data_dir_option
@json_option
def beat(data_dir: Path | None, as_json: bool) -> int:
    """The clock's ticks reach the broker: the last one left a moment ago."""
    return _tell("beat", as_json, lambda: beat_health(Settings.load(data_dir=data_dir)))


def beat_health(settings: Settings, now: float | None = None) -> str:
    """
    Args:
        settings: `data_dir` is where beat leaves its trace.
        now: seconds since the epoch, instead of the clock's.

    Raises:
        UnhealthyError: no tick has left for a while, or none ever.
    """
    from worker.beat import tick_file  # noqa: PLC0415  (loads Celery)

    return _fresh(tick_file(settings), "tick left", "beat", time.time() if now is None else now)


def _fresh(trace: Path, what: str, part: str, now: float) -> str:
    """The trace that a part leaves again and again, if it did so a moment ago."""
    try:
        age = now - trace.stat().st_mtime
    except OSError as problem:
        raise UnhealthyError(f"no {what} yet ({trace}: {problem.strerror}); is {part} running?") from problem
    if age > TICK_AGE_SECONDS:
        raise UnhealthyError(f"the last {what} {age:.0f} s ago; is Redis there, and {part} running?")
    return f"the last {what} {max(age, 0.0):.0f} s ago"


# scheduler ---------------------------------------------------------------------------------------------------------


@health.command("scheduler")
@data_dir_option
@json_option
def scheduler(data_dir: Path | None, as_json: bool) -> int:
    """The scheduler of this machine looked a moment ago whether something is due."""
    return _tell("scheduler", as_json, lambda: scheduler_health(Settings.load(data_dir=data_dir)))


def scheduler_health(settings: Settings) -> str:
    """
    Raises:
        UnhealthyError: it has not looked for a while, or never.
    """
    from producer.scheduler import look_file  # noqa: PLC0415  (loads the producer)

    return _fresh(look_file(settings), "look at the schedules was", "the scheduler", time.time())


# What speaks HTTP --------------------------------------------------------------------------------------------------


@health.command("receiver")
@data_dir_option
@json_option
def receiver(data_dir: Path | None, as_json: bool) -> int:
    """The receiver answers at its port, and Redis answers it."""
    return _tell("receiver", as_json, lambda: receiver_health(Settings.load(data_dir=data_dir)))


def receiver_health(settings: Settings) -> str:
    """
    Raises:
        UnhealthyError: it does not answer, or Redis does not answer it.
    """
    url = f"{_reached_at(settings.receiver_host, settings.receiver_port)}/livez"
    status = _get(url)
    if status == 503:
        raise UnhealthyError(f"{url} answers 503: the receiver runs, and Redis does not answer it")
    return _must_be_200(url, status)


@health.command("api")
@data_dir_option
@json_option
def api(data_dir: Path | None, as_json: bool) -> int:
    """The HTTP API answers at its port, and jobs can be enqueued."""
    return _tell("api", as_json, lambda: api_health(Settings.load(data_dir=data_dir)))


def api_health(settings: Settings) -> str:
    """
    Raises:
        UnhealthyError: it does not answer, or nothing can be enqueued.
    """
    url = f"{_reached_at(settings.service_host, settings.service_port)}/readyz"
    status = _get(url)
    if status == 503:
        raise UnhealthyError(f"{url} answers 503: the API runs, and Redis does not answer it, or has lost its records")
    return _must_be_200(url, status)


def _reached_at(host: str, port: int) -> str:
    host = ANY_ADDRESS.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@health.command("flower")
@click.option("--url", default="http://127.0.0.1:5555", show_default=True, help="Where flower is.")
@json_option
def flower(url: str, as_json: bool) -> int:
    """Flower shows its page of workers to whoever logs in as FLOWER_BASIC_AUTH says, and to nobody else."""
    return _tell("flower", as_json, lambda: flower_health(url, os.environ.get("FLOWER_BASIC_AUTH", "")))


def flower_health(url: str, login: str) -> str:
    """
    Args:
        url: where flower is.
        login: `user:password`.

    Raises:
        UnhealthyError: it does not answer, lets strangers in, or does not let this user in.
        SettingsError: there is no login to try.
    """
    user, colon, password = login.partition(",")[0].partition(":")
    if not (user and colon and password):
        raise SettingsError("set FLOWER_BASIC_AUTH to user:password, the same as flower's own")
    page = f"{url.rstrip('/')}/workers"
    if _get(page) != 401:
        raise UnhealthyError(f"{page} does not ask for a password; start flower with FLOWER_BASIC_AUTH")
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    return _must_be_200(page, _get(page, {"Authorization": f"Basic {token}"}))


@health.command("sandbox")
@click.option("--url", default="http://127.0.0.1:8792", show_default=True, help="Where the sandbox is.")
@json_option
def sandbox(url: str, as_json: bool) -> int:
    """The simulated API answers, and can tell how its tasks are."""
    page = f"{url.rstrip('/')}/sandbox/stats"
    return _tell("sandbox", as_json, lambda: _must_be_200(page, _get(page)))


def _get(url: str, headers: Mapping[str, str] | None = None) -> int:
    """The status of the answer; no proxy in between, whatever the environment says.

    Raises:
        UnhealthyError: there is none.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        request = urllib.request.Request(url, headers=dict(headers or {}))  # noqa: S310  (whoever asks says what)
        with opener.open(request, timeout=HTTP_SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as problem:
        problem.close()
        return problem.code
    except (OSError, ValueError, HTTPException) as problem:
        reason = getattr(problem, "reason", None) or str(problem) or type(problem).__name__
        raise UnhealthyError(f"{url} does not answer ({reason}); is it running?") from problem


def _must_be_200(url: str, status: int) -> str:
    if status != 200:
        raise UnhealthyError(f"{url} answers HTTP {status}")
    return f"{url} answers"


# -------------------------------------------------------------------------------------------------------------------


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

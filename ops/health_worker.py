"""Whether a worker really does its work: it is asked itself, over the broker."""

from __future__ import annotations

import glob
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from jobs.errors import StoreUnavailable
from jobs.policy import Policy
from jobs.queue import make_app
from jobs.server import connect
from jobs.settings import Settings
from jobs.store import JobStore
from ops.health import UnhealthyError
from producer.upstream import reports

ANSWER_SECONDS = 5.0
# With wake-ups in its queues, a worker with a free thread takes one within milliseconds.
PROGRESS_SECONDS = 5.0
POLL_SECONDS = 0.2


def worker_health(settings: Settings, host: str | None = None) -> str:
    """Ask a worker itself, over the broker.

    Args:
        settings: where the broker is.
        host: the worker's machine; by default this one. Of several workers there, the first to answer counts.

    Returns:
        what it does, and what it cannot do: a healthy worker asks nothing of an API that its settings do not name.

    Raises:
        UnhealthyError: it does not answer, misses a queue, or takes nothing although wake-ups wait and threads are
            free; or Redis does not answer.
    """
    try:
        with connect(settings.redis_address()) as client, make_app(settings) as app:
            client.ping()  # gives up in time, while the broker's own connection would be tried again and again
            says = _worker_health(app, client, host or socket.gethostname())
            return "; ".join([says, *_strays(client, settings)])
    except (redis.RedisError, OperationalError, StoreUnavailable) as problem:
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


def _strays(client: redis.Redis, settings: Settings) -> Iterator[str]:
    """No restart would help there, so the worker is healthy nevertheless."""
    for one in reports(JobStore(client, Policy.from_settings(settings)), settings):
        if one.stray:
            yield f"{one.stray_words}: {one.STRAY_ADVICE}"

"""Whether a part really does its work, as can be seen from outside: by the trace that it leaves, or by its answer."""

from __future__ import annotations

import base64
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import ClassVar

from jobs.errors import BlendqError, SettingsError
from jobs.settings import Settings

HTTP_SECONDS = 10.0
# Ticks leave every second.
TICK_AGE_SECONDS = 15.0
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (how a server that listens everywhere is reached)


class UnhealthyError(BlendqError):
    """The part does not do its work; says what is wrong."""

    code: ClassVar[str] = "unhealthy"
    retryable: ClassVar[bool] = True


# What leaves a trace -----------------------------------------------------------------------------------------------


def beat_health(settings: Settings, now: float | None = None) -> str:
    """
    Args:
        settings: `data_dir` is where beat leaves its trace.
        now: seconds since the epoch, instead of the clock's.

    Raises:
        UnhealthyError: no tick has left for a while, or none ever.
    """
    from worker.beat import tick_file  # noqa: PLC0415  (loads Celery, and the other checks do without)

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


def scheduler_health(settings: Settings) -> str:
    """
    Raises:
        UnhealthyError: it has not looked for a while, or never.
    """
    from producer.scheduler import look_file  # noqa: PLC0415  (loads the producer)

    return _fresh(look_file(settings), "look at the schedules was", "the scheduler", time.time())


# What speaks HTTP --------------------------------------------------------------------------------------------------


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


def sandbox_health(url: str) -> str:
    """
    Args:
        url: where the sandbox is.

    Raises:
        UnhealthyError: it does not answer.
    """
    page = f"{url.rstrip('/')}/sandbox/stats"
    return _must_be_200(page, _get(page))


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

"""What the receiver answers: callback -> job record.

What does not verify gets one and the same 404 before any I/O; what does is
answered 200 only when the change is durable, since the API sends each callback once.
"""

from __future__ import annotations

import functools
import ipaddress
import json
import logging
import re
import time
from dataclasses import dataclass

from jobs.errors import JobNotFound, StoreUnavailable
from jobs.limits import Buckets, sender
from jobs.link import Link
from jobs.loop_store import LoopStore
from jobs.queue import Wakeups
from jobs.settings import Settings
from jobs.store import JobStore
from worker import http
from worker.bell import Bell
from worker.hooks import Hooks
from worker.http import Answer, Head
from worker.proxy.task import TaskView, parse_task
from worker.recorder import Overloaded, Recorder
from worker.sightings import seen

# A bucket holds what may come in so many seconds: callbacks come in bursts.
BURST_SECONDS = 10.0
LOG_LINES_PER_SECOND = 1.0

# As `Hooks` writes them, letter for letter: another spelling of the same address is not the same address.
_ADDRESS = re.compile(rb"/hooks/([A-Za-z0-9_-]{1,128})/([1-9][0-9]{0,8})/([A-Za-z0-9_-]{43})(?:\?.*)?", re.DOTALL)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How much and how long; `Settings` says what each means."""

    store_seconds: float = 3.0
    forged_per_second: float = 50.0
    callbacks_per_second: float = 20.0

    @classmethod
    def from_settings(cls, settings: Settings) -> Limits:
        return cls(
            store_seconds=settings.receiver_store_seconds,
            forged_per_second=settings.receiver_forged_per_second,
            callbacks_per_second=settings.receiver_callbacks_per_second,
        )


@dataclass(frozen=True)
class _Address:
    """A callback address that is proven to be ours."""

    job_id: str
    attempt: int


class Receiver:
    """The application.

    Args:
        store: where the jobs are; it is never waited for.
        link: to the same server.
        hooks: tells our addresses from forgeries.
        wakeups: tells the workers what there is to do.
        limits: how much and how long.
    """

    def __init__(
        self, store: JobStore, link: Link, hooks: Hooks, wakeups: Wakeups, limits: Limits | None = None
    ) -> None:
        self._hooks = hooks
        limits = limits or Limits()
        self._bell = Bell(link, store.gate, wakeups)
        self._store = LoopStore(store, link, self._bell.ring)
        self._recorder = Recorder(self._store, limits.store_seconds)
        self._forged = _buckets(limits.forged_per_second)
        self._callbacks = _buckets(limits.callbacks_per_second)
        self._log_lines = _buckets(LOG_LINES_PER_SECOND)

    def close(self) -> None:
        """Say what is to be said to Redis, and no more."""
        self._bell.close()
        self._store.close()

    def screen(self, head: Head) -> Answer | http.Later | http.Reader:
        """Decide by the head of a request alone, and by nothing that is kept anywhere."""
        if (address := self._verified(head)) is None:
            return self._health() if _asks_for_health(head) else self._stranger(head)
        if not self._callbacks.take(address.job_id, time.monotonic()):
            return http.TOO_OFTEN
        return functools.partial(self._callback, head, address)

    def _verified(self, head: Head) -> _Address | None:
        if head.method != b"POST" or len(head.headers) > http.MAX_HEADERS:
            return None
        if (match := _ADDRESS.fullmatch(head.target)) is None:
            return None
        job_id, attempt, mac = (part.decode() for part in match.groups())
        return _Address(job_id, int(attempt)) if self._hooks.verify(job_id, attempt, mac) else None

    def _stranger(self, head: Head) -> Answer:
        """One answer to whatever is not a true callback: it tells a stranger nothing."""
        return http.NOT_FOUND if self._forged.take(sender(head.caller), time.monotonic()) else http.GO_AWAY

    def _callback(self, head: Head, address: _Address, body: bytes) -> Answer | http.Later:
        if (view := _task(body)) is None:
            return http.NO_TASK
        say = functools.partial(self._recorded, head, address)
        return self._recorder.record(address.job_id, seen(address.attempt, view, "callback"), say)

    def _recorded(self, head: Head, address: _Address, error: Exception | None) -> Answer:
        """Whatever is wrong, the API hears only that it is."""
        if error is None:
            return http.OK
        if isinstance(error, JobNotFound):
            return self._stranger(head)
        self._tell(address.job_id, error)
        return http.LATER

    async def _health(self) -> Answer:
        try:
            await self._recorder.ping()
        except (Overloaded, StoreUnavailable):
            return http.LATER
        return http.OK

    def _tell(self, job_id: str, error: Exception) -> None:
        """Not for every callback of a storm: the log would be the next thing to fill up."""
        if self._log_lines.take("", time.monotonic()):
            known = isinstance(error, Overloaded | StoreUnavailable)
            _log.error("job=%s callback not recorded: %s", job_id, error, exc_info=None if known else error)


def _buckets(per_second: float) -> Buckets:
    return Buckets(per_second, max(1.0, per_second * BURST_SECONDS))


def _asks_for_health(head: Head) -> bool:
    """Only for this machine itself, and not through a proxy on it."""
    if (head.method, head.target) != (b"GET", b"/livez") or head.header(b"x-forwarded-for"):
        return False
    return head.peer == head.own or _is_loopback(head.peer)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _task(body: bytes) -> TaskView | None:
    try:
        return parse_task(json.loads(body))
    except (ValueError, RecursionError):
        return None

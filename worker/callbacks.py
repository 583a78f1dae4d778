"""The receiver's application (ASGI): callback -> job record.

What does not verify gets one and the same 404 before any I/O; what does is
answered 200 only when the change is durable, since the API sends each callback once.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import re
import time
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from jobs.errors import JobNotFound, StoreUnavailable
from jobs.queue import Wakeups
from jobs.settings import Settings
from jobs.store import JobStore
from worker.hooks import Hooks
from worker.limits import Buckets, sender
from worker.proxy.task import TaskView, parse_task
from worker.recorder import Overloaded, Recorder
from worker.sightings import seen

MAX_BODY_BYTES = 256 * 1024
MAX_HEADERS = 64
# A bucket holds what may come in so many seconds: callbacks come in bursts.
BURST_SECONDS = 10.0
LOG_LINES_PER_SECOND = 1.0

# As `Hooks` writes them, letter for letter: another spelling of the same address is not the same address.
_ADDRESS = re.compile(rb"/hooks/([A-Za-z0-9_-]{1,128})/([1-9][0-9]{0,8})/([A-Za-z0-9_-]{43})")
_CLOSE = {"Connection": "close"}
_LATER = {"Retry-After": "1"}

_log = logging.getLogger(__name__)


class _RefusedBody(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True)
class Limits:
    """How much and how long; `Settings` says what each means."""

    body_seconds: float = 10.0
    store_seconds: float = 3.0
    forged_per_second: float = 50.0
    callbacks_per_second: float = 20.0

    @classmethod
    def from_settings(cls, settings: Settings) -> Limits:
        return cls(
            body_seconds=settings.receiver_body_seconds,
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
        store: where the jobs are.
        hooks: tells our addresses from forgeries.
        wakeups: tells the workers what there is to do.
        limits: how much and how long.
    """

    def __init__(self, store: JobStore, hooks: Hooks, wakeups: Wakeups, limits: Limits | None = None) -> None:
        self._hooks = hooks
        self._limits = limits or Limits()
        self._recorder = Recorder(store, wakeups, self._limits.store_seconds)
        self._forged = _buckets(self._limits.forged_per_second)
        self._callbacks = _buckets(self._limits.callbacks_per_second)
        self._log_lines = _buckets(LOG_LINES_PER_SECOND)

    def close(self) -> None:
        self._recorder.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        address = self._verified(request)
        if address is not None:
            return await self._callback(request, address)
        if _asks_for_health(request):
            return await self._health()
        return self._stranger(request)

    def _verified(self, request: Request) -> _Address | None:
        """Decided by the head of the request alone, and by nothing that is kept anywhere."""
        if request.method != "POST" or len(request.scope["headers"]) > MAX_HEADERS:
            return None
        if (match := _ADDRESS.fullmatch(request.scope["raw_path"])) is None:
            return None
        job_id, attempt, mac = (part.decode() for part in match.groups())
        return _Address(job_id, int(attempt)) if self._hooks.verify(job_id, attempt, mac) else None

    def _stranger(self, request: Request) -> Response:
        """One answer to whatever is not a true callback: it tells a stranger nothing."""
        if self._forged.take(sender(request.client.host if request.client else ""), time.monotonic()):
            return Response(status_code=404)
        return Response(status_code=429, headers=_CLOSE)

    async def _callback(self, request: Request, address: _Address) -> Response:
        if not self._callbacks.take(address.job_id, time.monotonic()):
            return Response(status_code=429)
        try:
            view = _task(await self._body(request))
            await self._recorder.record(address.job_id, seen(address.attempt, view, "callback"))
        except _RefusedBody as error:
            return Response(status_code=error.status, headers=_CLOSE)
        except JobNotFound:
            return self._stranger(request)
        except Exception as error:  # noqa: BLE001  (whatever is wrong here, the API hears only that it is)
            self._tell(address.job_id, error)
            return Response(status_code=503, headers=_LATER)
        return Response(status_code=200)

    async def _body(self, request: Request) -> bytes:
        """
        Raises:
            _RefusedBody: it is too large, too slow, or broken off.
        """
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        raise _RefusedBody(413)
        except TimeoutError as error:
            raise _RefusedBody(408) from error
        except ClientDisconnect as error:
            raise _RefusedBody(400) from error
        return bytes(body)

    async def _health(self) -> Response:
        try:
            await self._recorder.ping()
        except (Overloaded, StoreUnavailable):
            return Response(status_code=503)
        return Response(status_code=200)

    def _tell(self, job_id: str, error: Exception) -> None:
        """Not for every callback of a storm: the log would be the next thing to fill up."""
        if self._log_lines.take("", time.monotonic()):
            known = isinstance(error, Overloaded | StoreUnavailable)
            _log.error("job=%s callback not recorded: %s", job_id, error, exc_info=None if known else error)


def _buckets(per_second: float) -> Buckets:
    return Buckets(per_second, max(1.0, per_second * BURST_SECONDS))


def _asks_for_health(request: Request) -> bool:
    """Only for this machine itself, and not through a proxy on it."""
    if (request.method, request.scope["raw_path"]) != ("GET", b"/livez") or "x-forwarded-for" in request.headers:
        return False
    peer, own = request.client, request.scope["server"]
    return peer is not None and (peer.host == own[0] or _is_loopback(peer.host))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _task(body: bytes) -> TaskView:
    try:
        view = parse_task(json.loads(body))
    except (ValueError, RecursionError) as error:
        raise _RefusedBody(400) from error
    if view is None:
        raise _RefusedBody(400)
    return view

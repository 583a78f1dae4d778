"""The webhook receiver (ASGI): callback -> job record.

The only part that faces the internet. What does not verify gets one and the same 404 before any I/O; what does is
answered 200 only when the change is durable, since the API sends each callback once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from jobs.errors import JobNotFound, PortInUse, StoreUnavailable
from jobs.policy import Policy
from jobs.queue import Wakeups, make_app
from jobs.server import connect
from jobs.settings import Settings
from jobs.store import JobStore
from worker.context import follow_up
from worker.hooks import Hooks
from worker.main import set_up_logging
from worker.proxy.task import TaskView, parse_task
from worker.sightings import seen

MAX_BODY_BYTES = 256 * 1024
BODY_DEADLINE_SECONDS = 10.0
MAX_ATTEMPT_DIGITS = 9
THREADS = 64
CONCURRENT_REQUESTS = 2000

_log = logging.getLogger(__name__)


class _RefusedBody(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Receiver:
    """The application.

    Args:
        store: where the jobs are.
        hooks: tells our addresses from forgeries.
        wakeups: tells the workers what there is to do.
    """

    def __init__(self, store: JobStore, hooks: Hooks, wakeups: Wakeups) -> None:
        self._store = store
        self._hooks = hooks
        self._wakeups = wakeups
        self.asgi = Starlette(
            routes=[
                Route("/hooks/{job}/{attempt}/{mac}", self._callback, methods=["POST"]),
                Route("/livez", self._livez, methods=["GET"]),
            ],
            exception_handlers={404: _not_found, 405: _not_found},
            lifespan=_more_threads,
        )

    async def _callback(self, request: Request) -> Response:
        job_id, attempt, mac = (request.path_params[name] for name in ("job", "attempt", "mac"))
        if not self._hooks.verify(job_id, attempt, mac) or not _is_number(attempt):
            return await _not_found(request)
        try:
            view = _task(await _body(request))
            await run_in_threadpool(self._record, job_id, int(attempt), view)
        except _RefusedBody as error:
            return Response(status_code=error.status)
        except JobNotFound:
            return await _not_found(request)
        except StoreUnavailable:
            _log.error("job=%s callback not recorded: Redis does not answer", job_id)
            return Response(status_code=503, headers={"Retry-After": "1"})
        return Response(status_code=200)

    def _record(self, job_id: str, attempt: int, view: TaskView) -> None:
        applied = self._store.apply(job_id, seen(attempt, view, "callback"))
        follow_up(self._store, self._wakeups, applied)

    async def _livez(self, _: Request) -> Response:
        try:
            await run_in_threadpool(self._store.ping)
        except StoreUnavailable:
            return Response(status_code=503)
        return Response(status_code=200)


async def _not_found(_request: Request, _error: Exception | None = None) -> Response:
    """One answer to whatever is not a true callback: it tells a stranger nothing."""
    return Response(status_code=404)


@asynccontextmanager
async def _more_threads(_: Starlette) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


async def _body(request: Request) -> bytes:
    """
    Raises:
        _RefusedBody: it is too large, too slow, or broken off.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_DEADLINE_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise _RefusedBody(413)
    except TimeoutError as error:
        raise _RefusedBody(408) from error
    except ClientDisconnect as error:
        raise _RefusedBody(400) from error
    return bytes(body)


def _task(body: bytes) -> TaskView:
    try:
        view = parse_task(json.loads(body))
    except (ValueError, RecursionError) as error:
        raise _RefusedBody(400) from error
    if view is None:
        raise _RefusedBody(400)
    return view


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MAX_ATTEMPT_DIGITS


class _Server(uvicorn.Server):
    """Leaves with exit code 0 when it is told to: uvicorn would send itself the signal again once it has shut down."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def run_receiver(settings: Settings, announce_file: Path | None = None) -> int:
    """Listen until SIGTERM or SIGINT.

    Args:
        settings: `receiver_host` and `receiver_port` say where.
        announce_file: gets the URL written when connections are accepted.

    Raises:
        PortInUse: somebody else listens there.
    """
    set_up_logging()
    listener = _listen(settings)
    store = JobStore(connect(settings.redis_address()), Policy.from_settings(settings))
    receiver = Receiver(store, Hooks.from_settings(settings), Wakeups(make_app(settings)))
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    print(f"receiver listening on {url}", file=sys.stderr, flush=True)
    if announce_file is not None:
        _announce(announce_file, url)
    server = _Server(
        uvicorn.Config(
            receiver.asgi,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            limit_concurrency=CONCURRENT_REQUESTS,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=5,
        )
    )
    server.run(sockets=[listener])
    store.close()
    return 0


def _listen(settings: Settings) -> socket.socket:
    """Bound before anything else starts, so that a taken port is told at once and in plain words."""
    family = socket.AF_INET6 if ":" in settings.receiver_host else socket.AF_INET
    try:
        return socket.create_server((settings.receiver_host, settings.receiver_port), family=family, backlog=2048)
    except OSError as error:
        where = f"{settings.receiver_host}:{settings.receiver_port}"
        advice = "set BLENDQ_RECEIVER_PORT to a free one"
        raise PortInUse(f"the receiver cannot listen on {where}: {error.strerror}; {advice}") from error


def _announce(path: Path, url: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(url, encoding="utf-8")
    part.rename(path)

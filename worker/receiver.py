"""The webhook receiver: the process that the API calls back. What it answers is in `worker.callbacks`.

The only part that faces the internet.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from jobs.errors import PortInUse
from jobs.policy import Policy
from jobs.queue import Wakeups, make_app
from jobs.server import connect
from jobs.settings import Settings
from jobs.store import JobStore
from worker.callbacks import Limits, Receiver
from worker.connections import MAX_HEAD_BYTES, Connections
from worker.hooks import Hooks
from worker.main import set_up_logging

BACKLOG = 2048
KERNEL_BUFFER_BYTES = 64 * 1024
LEAVE_SECONDS = 5
# For a request that was read and recorded: only its answer is left.
ANSWER_MARGIN_SECONDS = 5.0


class ReceiverServer(uvicorn.Server):
    """Leaves with exit code 0 when it is told to: uvicorn would send itself the signal again once it has shut down."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def server_config(receiver: Receiver, settings: Settings) -> uvicorn.Config:
    """uvicorn with everything off that a receiver does not need."""
    proxies = settings.receiver_trusted_proxies.split(",") if settings.receiver_trusted_proxies else []
    connections = Connections(
        most=settings.receiver_connections,
        most_of_one=settings.receiver_connections_per_address,
        proxies=proxies,
        head_seconds=settings.receiver_head_seconds,
        answer_seconds=settings.receiver_body_seconds + settings.receiver_store_seconds + ANSWER_MARGIN_SECONDS,
    )
    return uvicorn.Config(
        receiver,
        http=connections.protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        log_level="error",  # what strangers send is no reason to write a line
        access_log=False,  # the address of a callback is a secret
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=max(1, int(settings.receiver_head_seconds)),
        timeout_graceful_shutdown=LEAVE_SECONDS,
    )


def run_receiver(settings: Settings, announce_file: Path | None = None) -> int:
    """Listen until SIGTERM or SIGINT.

    Args:
        settings: `receiver_host` and `receiver_port` say where.
        announce_file: gets the URL written when connections are accepted.

    Raises:
        PortInUse: somebody else listens there.
    """
    set_up_logging()
    listener = listen(settings)
    store = JobStore(connect(settings.redis_address()), Policy.from_settings(settings))
    wakeups = Wakeups(make_app(settings))
    receiver = Receiver(store, Hooks.from_settings(settings), wakeups, Limits.from_settings(settings))
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    print(f"receiver listening on {url}", file=sys.stderr, flush=True)
    if announce_file is not None:
        _announce(announce_file, url)
    ReceiverServer(server_config(receiver, settings)).run(sockets=[listener])
    receiver.close()
    store.close()
    return 0


def listen(settings: Settings) -> socket.socket:
    """Bound before anything else starts, so that a taken port is told at once and in plain words.

    Raises:
        PortInUse: somebody else listens there.
    """
    family = socket.AF_INET6 if ":" in settings.receiver_host else socket.AF_INET
    try:
        made = socket.create_server((settings.receiver_host, settings.receiver_port), family=family, backlog=BACKLOG)
    except OSError as error:
        where = f"{settings.receiver_host}:{settings.receiver_port}"
        advice = "set BLENDQ_RECEIVER_PORT to a free one"
        raise PortInUse(f"the receiver cannot listen on {where}: {error.strerror}; {advice}") from error
    # What the kernel keeps for a connection that does not read, or sends without end; it would be megabytes.
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        made.setsockopt(socket.SOL_SOCKET, option, KERNEL_BUFFER_BYTES)
    return made


def _announce(path: Path, url: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(url, encoding="utf-8")
    part.rename(path)

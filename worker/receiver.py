"""The webhook receiver: the process that the API calls back. What it answers is in `worker.callbacks`.

The only part that faces the internet.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from pathlib import Path

import uvloop

from jobs.errands import Errands
from jobs.link import Link
from jobs.net.connections import Connections
from jobs.net.listening import BACKLOG, announce, bind, url_of
from jobs.policy import Policy
from jobs.queue import Wakeups, make_app
from jobs.server import connect
from jobs.settings import Settings
from jobs.store import JobStore
from worker.callbacks import Limits, Receiver
from worker.connection import Connection
from worker.hooks import Hooks
from worker.logs import set_up_logging

KERNEL_BUFFER_BYTES = 64 * 1024
LEAVE_SECONDS = 5
# For a callback that was recorded, or was not in time: only its answer is left.
ANSWER_MARGIN_SECONDS = 5.0


async def serve(listener: socket.socket, receiver: Receiver, settings: Settings, leaving: asyncio.Event) -> None:
    """Answer whoever calls, until it is time to leave; what was asked by then is answered.

    Args:
        listener: from `listen`.
        receiver: what answers.
        settings: how many connections, and how long.
        leaving: set when it is time.
    """
    connections = Connections(
        most=settings.receiver_connections,
        most_of_one=settings.receiver_connections_per_address,
        proxies=settings.receiver_trusted_proxies.split(",") if settings.receiver_trusted_proxies else [],
        head_seconds=settings.receiver_head_seconds,
        body_seconds=settings.receiver_body_seconds,
        answer_seconds=settings.receiver_store_seconds + ANSWER_MARGIN_SECONDS,
    )
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(connections, receiver), sock=listener, backlog=BACKLOG)
    await leaving.wait()
    server.close()
    await connections.leave(LEAVE_SECONDS)
    receiver.close()


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
    client = connect(settings.redis_address())
    store = JobStore(client, Policy.from_settings(settings))
    wakeups = Wakeups(make_app(settings), Errands(client))
    link, hooks = Link(settings.redis_address()), Hooks.from_settings(settings)
    receiver = Receiver(store, link, hooks, wakeups, Limits.from_settings(settings))
    url = url_of(listener)
    print(f"receiver listening on {url}", file=sys.stderr, flush=True)
    if announce_file is not None:
        announce(announce_file, url)
    # What is loaded stays: to look through it for garbage again and again would hold everybody up for 30 ms each time.
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_told(listener, receiver, settings))
    return 0


async def _until_told(listener: socket.socket, receiver: Receiver, settings: Settings) -> None:
    leaving = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, leaving.set)
    await serve(listener, receiver, settings, leaving)


def listen(settings: Settings) -> socket.socket:
    """Bound before anything else starts, so that a taken port is told at once and in plain words.

    Raises:
        PortInUse: somebody else listens there.
    """
    host, port = settings.receiver_host, settings.receiver_port
    made = bind(host, port, part="receiver", settings="BLENDQ_RECEIVER")
    # What the kernel keeps for a connection that does not read, or sends without end; it would be megabytes.
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        made.setsockopt(socket.SOL_SOCKET, option, KERNEL_BUFFER_BYTES)
    return made

"""The process: listens, and says at its start who is let in."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

import uvicorn

from jobs.errors import SettingsError
from jobs.logs import log_to_stderr
from jobs.net.connections import Connections
from jobs.net.listening import announce, bind, url_of
from jobs.pictures.decoding import Decoder
from jobs.settings import Settings
from producer.api.app import make_app
from producer.api.connection import Connection
from producer.api.follower import Follower
from producer.api.guard import Guard
from producer.client import Producer

LEAVE_SECONDS = 10
KEEP_ALIVE_SECONDS = 30
_log = logging.getLogger("producer.api")


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, follower: Follower) -> None:
        super().__init__(config)
        self._follower = follower

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Streams of events end only when they are told to."""
        self._follower.leave()
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's; but whoever left in order did not die of a signal."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def run_service(settings: Settings, announce_file: Path | None = None) -> int:
    """Answer until SIGTERM or SIGINT.

    Args:
        settings: `service_host` and `service_port` say where.
        announce_file: gets the URL written when connections are accepted.

    Raises:
        PortInUse: somebody else listens there.
        SettingsError: others than this machine could call, and there is no token.
        StoreUnavailable: no Redis answers.
    """
    log_to_stderr()
    listener = bind(settings.service_host, settings.service_port, part="HTTP API", settings="BLENDQ_SERVICE")
    decoder = Decoder()
    try:
        with listener, Producer(settings, check=decoder.check) as blends:
            loopback = ipaddress.ip_address(listener.getsockname()[0]).is_loopback
            _log.info("HTTP API listening on %s: %s", url_of(listener), _who_is_let_in(blends, loopback))
            follower = Follower(blends.store)
            guard = Guard(
                make_app(blends, follower),
                blends.tokens,
                loopback=loopback,
                most=settings.service_requests,
                per_second=settings.service_requests_per_second,
            )
            if announce_file is not None:
                announce(announce_file, url_of(listener))
            most = settings.service_connections
            # No limit for one address: behind a proxy, or on this machine, all callers have the same.
            room = Connections(most, most + 1, head_seconds=settings.service_head_seconds)
            _serve(guard, follower, listener, room)
    finally:
        decoder.close()
    return 0


def _who_is_let_in(blends: Producer, loopback: bool) -> str:
    if blends.tokens.any():
        return "who has a token"
    if loopback:
        return "no token exists, so every program of this machine; `blendq token create NAME` ends that"
    raise SettingsError(
        "the HTTP API would listen on an address that others can reach, and no token exists; make one first: "
        "blendq token create NAME --scope write. Or leave BLENDQ_SERVICE_HOST out: then only this machine can call"
    )


def _serve(guard: Guard, follower: Follower, listener: socket.socket, room: Connections) -> None:
    config = uvicorn.Config(
        guard,
        http=partial(Connection, room=room),  # type: ignore[arg-type]  # whatever makes a protocol
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=LEAVE_SECONDS,
    )
    server = _Server(config, follower)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[listener]))

"""Ports of the loopback address."""

from __future__ import annotations

import socket
import time

from jobs.net.listening import BACKLOG

LOOPBACK = "127.0.0.1"
START_SECONDS = 60.0
POLL_SECONDS = 0.02


def listener(port: int = 0) -> socket.socket:
    """A socket that listens on this port, or on any free one."""
    return socket.create_server((LOOPBACK, port), backlog=BACKLOG)


def free_port() -> int:
    """A port on which nobody listens now, for whoever is told his before he starts."""
    with listener() as found:
        return int(found.getsockname()[1])


def wait_for_listener(port: int) -> None:
    """
    Raises:
        TimeoutError: nobody listens there after a while.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection((LOOPBACK, port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"nobody listens on port {port} after {START_SECONDS:g} s") from None
            time.sleep(POLL_SECONDS)
        else:
            return

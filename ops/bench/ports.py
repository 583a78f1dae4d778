"""Ports of the loopback address."""

from __future__ import annotations

import socket

from jobs.net.listening import BACKLOG

LOOPBACK = "127.0.0.1"


def listener(port: int = 0) -> socket.socket:
    """A socket that listens on this port, or on any free one."""
    return socket.create_server((LOOPBACK, port), backlog=BACKLOG)


def free_port() -> int:
    """A port on which nobody listens now, for whoever is told his before he starts."""
    with listener() as found:
        return int(found.getsockname()[1])

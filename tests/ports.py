"""Ports for servers that a test starts later.

Not those that the system gives away by itself: between choosing one and listening on it, some connection of another
test may get the same.
"""

from __future__ import annotations

import os
import socket
from itertools import count

FIRST, LAST = 20_000, 32_000
# Tests run in several processes at once: each begins elsewhere.
_next = count(os.getpid() * 37)


def free_port() -> int:
    """A port of this machine's loopback address on which nobody listens."""
    while True:
        port = FIRST + next(_next) % (LAST - FIRST)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue

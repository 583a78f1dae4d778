"""Waits that the kernel bounds: with a timeout of Python's own each of them is a system call more, which lets another
thread in.
"""

from __future__ import annotations

import socket
import struct

_TIMEVAL = struct.Struct("@ll")


def bound(sock: socket.socket, wait: int, seconds: float) -> None:
    """
    Args:
        sock: a connection that blocks. With TLS it would do no good: one of its reads may take several of the kernel's.
        wait: SO_RCVTIMEO or SO_SNDTIMEO.
        seconds: above 0, since 0 is no bound at all.
    """
    whole = int(seconds)
    sock.setsockopt(socket.SOL_SOCKET, wait, _TIMEVAL.pack(whole, int((seconds - whole) * 1_000_000)))

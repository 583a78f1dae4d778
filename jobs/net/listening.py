"""Listening on a port: what the parts that are called have in common."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from jobs.errors import PortInUse

BACKLOG = 2048


def bind(host: str, port: int, *, part: str, settings: str) -> socket.socket:
    """A socket that listens; made before anything else starts, so that a taken port is told at once.

    Args:
        host: the address; with a colon it is one of IPv6.
        port: 0 for any free one.
        part: who wants to listen, and
        settings: what the settings of its address begin with, before _HOST and _PORT; both for the error's words.

    Raises:
        PortInUse: somebody else listens there, or this machine has no such address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        why = str(error.strerror).partition(" (while ")[0]  # Python adds the address
        mend = f"{settings}_PORT to a free one"
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            mend = f"{settings}_HOST to an address of this machine"
        raise PortInUse(f"the {part} cannot listen on {host}:{port}: {why}; set {mend}") from error


def url_of(listener: socket.socket) -> str:
    """Where it is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def announce(path: Path, url: str) -> None:
    """Write the URL into a file, which appears in one step."""
    part = path.with_suffix(".part")
    part.write_text(url, encoding="utf-8")
    part.rename(path)

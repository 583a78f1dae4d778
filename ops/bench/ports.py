"""Ports for those who are told theirs before they start."""

from __future__ import annotations

from jobs.listening import bind

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A port of the loopback address on which nobody listens now."""
    with bind(LOOPBACK, 0, part="benchmark", settings="BLENDQ") as listener:
        return int(listener.getsockname()[1])

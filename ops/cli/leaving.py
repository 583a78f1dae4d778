"""Leaving on a signal: SIGTERM and a closed terminal mean what Ctrl-C means."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def at_once_on_ctrl_c() -> None:
    """From here on SIGINT ends the process at once and in silence, as SIGTERM does; one that is ignored stays so.

    For the time in which Celery is loaded, before it takes both: an error raised amid that can be swallowed by a
    callback, and then the process would go on as if nobody had told it to leave.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """While this lasts, SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt; one that is ignored (nohup) stays so."""
    before = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

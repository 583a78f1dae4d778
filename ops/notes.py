"""Notes: lines for people, on stderr; stdout is for data."""

from __future__ import annotations

import contextlib
import sys


def note(text: str) -> None:
    _say(f"blendq: {text}")


def error(text: str) -> None:
    _say(f"blendq: error: {text}")


def _say(line: str) -> None:
    # A terminal that was closed must not keep us from leaving in order.
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)

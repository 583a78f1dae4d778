"""Clock: lets a process believe that it is another time.

The wall clock as Python code sees it: `time.time`, `time.time_ns`, and `now`, `utcnow` and `today` of `datetime`, in
every module, loaded already or later. Monotonic clocks go on as they are, as they do when a machine's clock is set.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, tzinfo
from typing import Any


class _LikeDatetime(type):
    """What is a datetime for others is one for whoever was given this class instead."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


def skew(seconds: float) -> None:
    """Set this process' clock, once.

    Args:
        seconds: forward from the true time, or back.
    """
    clock, clock_ns = time.time, time.time_ns

    class Skewed(datetime, metaclass=_LikeDatetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.fromtimestamp(clock() + seconds, tz)

        @classmethod
        def utcnow(cls) -> Any:
            return cls.now(UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

    told: dict[int, object] = {
        id(clock): lambda: clock() + seconds,
        id(clock_ns): lambda: clock_ns() + int(seconds * 1e9),
        id(datetime): Skewed,
    }
    for name, module in [*sys.modules.items()]:
        # Pydantic knows types by their identity, and needs no clock.
        if name != __name__ and name.split(".")[0] != "pydantic":
            _replace(module, told)


def _replace(module: object, told: dict[int, object]) -> None:
    for name, value in [*getattr(module, "__dict__", {}).items()]:
        if id(value) in told:
            setattr(module, name, told[id(value)])

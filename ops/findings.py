"""Findings: what the checks of `blendq doctor` come to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

MAX_SKEW_SECONDS = 5.0


class Level(StrEnum):
    """How a check came out. A warning is worth a look, and stops nothing."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """What one check found; `advice` says what to do, where something is not right."""

    name: str
    level: Level
    says: str
    advice: str = ""


def skew(name: str, theirs: datetime) -> Finding:
    seconds = (datetime.now(UTC) - theirs).total_seconds()
    if abs(seconds) > MAX_SKEW_SECONDS:
        says = f"this machine's clock is {abs(seconds):.0f} s {'ahead' if seconds > 0 else 'behind'}"
        return Finding(name, Level.WARNING, says, "set the clock; jobs do not depend on it, people who read logs do")
    return Finding(name, Level.OK, "agrees with this machine's")

"""The logs of the local stack's parts."""

from __future__ import annotations

from pathlib import Path

TAIL_BYTES = 2000


def fresh_log(log: Path) -> None:
    """Begin a new log; the one before is kept as NAME.log.1."""
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))


def last_lines(path: Path, count: int = 5) -> str:
    """The end of a log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return "\n  ".join(["", *(line for line in lines if line.strip())][-count - 1 :]) if lines else "(its log is empty)"

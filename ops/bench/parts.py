"""Parts: the processes of whoever is measured; what they use, read from /proc; and how they are held and let go.

Everybody runs all the while, and is stopped (SIGSTOP) while another is measured: so repetitions can alternate, and no
start is measured.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_RESET_PEAK = "5"  # proc(5): what /proc/PID/clear_refs takes to begin a new VmHWM


@dataclass(frozen=True)
class Use:
    """What a part has used."""

    cpu_seconds: float
    peak_mb: float
    rss_mb: float


def family(pid: int) -> list[int]:
    """The process, its children, and theirs."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def use(*pids: int) -> Use:
    """Of processes and their children: processor time so far; peaks of their resident memory, and as it is, summed."""
    each = [one for pid in pids for one in map(use_alone, family(pid)) if one is not None]
    return Use(*(sum(getattr(one, name) for one in each) for name in ("cpu_seconds", "peak_mb", "rss_mb")))


def use_alone(pid: int) -> Use | None:
    """Of this process; None when it has left."""
    try:
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    except OSError:
        return None
    peak, rss = (int(status.get(name, "0 kB").split()[0]) / 1024 for name in ("VmHWM", "VmRSS"))
    return Use(sum(map(int, times)) / _TICKS, peak, rss)  # times with those of its children that have ended


def reset_peaks(pids: Iterable[int]) -> None:
    for pid in pids:
        for one in family(pid):
            with suppress(OSError):
                Path(f"/proc/{one}/clear_refs").write_text(_RESET_PEAK)


def hold(pids: Iterable[int]) -> None:
    _signal(pids, signal.SIGSTOP)


def let_go(pids: Iterable[int]) -> None:
    _signal(pids, signal.SIGCONT)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        for one in family(pid):
            with suppress(ProcessLookupError):
                os.kill(one, number)


def used_between(before: Mapping[str, Use], after: Mapping[str, Use]) -> dict[str, Use]:
    """What each part has used in between; memory is that of the end."""
    return {
        name: replace(after[name], cpu_seconds=after[name].cpu_seconds - one.cpu_seconds)
        for name, one in before.items()
        if name in after
    }

"""`python -m ops.chaos.part worker|beat|receiver|producer RUN`: one process of the stack, as a fault run starts it.

It is the product's own process, after three things: its constants are scaled (unless the run is at real times), traps
are set up, and a broken variant is patched in if this run is about one.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from jobs.settings import Settings
from ops.chaos.produce import produce
from ops.chaos.quick import scale
from ops.chaos.traps import Traps, set_up
from ops.chaos.variants import VARIANTS

RUN_FILE = "run.json"
READY_SUFFIX = ".ready"  # of a file that a worker makes when it takes work
SKEW_FILE = "skew.json"  # {"worker-0": seconds}


def main(arguments: Sequence[str]) -> int:
    role, folder = arguments[0], Path(arguments[1])
    name = arguments[2] if len(arguments) > 2 else role
    run = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    if not run["real_times"]:
        scale(role)
    if run["broken"] and role in ("worker", "receiver"):
        VARIANTS[run["broken"]].patch()
    settings = Settings.load()
    roles: dict[str, Callable[[], int]] = {
        "worker": lambda: _worker(settings, folder, name),
        "beat": lambda: _beat(settings),
        "receiver": lambda: _receiver(settings, folder / f"{name}.url"),
        "producer": lambda: produce(settings, folder),
    }
    return roles[role]()


def _worker(settings: Settings, folder: Path, name: str) -> int:
    from celery.signals import worker_ready  # noqa: PLC0415  (the harness needs none of it)

    from worker.main import run_worker  # noqa: PLC0415  (patched by now)

    def announce(**_: object) -> None:
        (folder / f"{name}{READY_SUFFIX}").touch()

    worker_ready.connect(announce, weak=False)
    set_up(Traps(folder / "traps"))
    _skew_clock(folder, name)
    return run_worker(settings)


def _beat(settings: Settings) -> int:
    from worker.main import run_beat  # noqa: PLC0415

    return run_beat(settings)


def _receiver(settings: Settings, announcement: Path) -> int:
    from worker.receiver import run_receiver  # noqa: PLC0415

    return run_receiver(settings, announcement)


def _skew_clock(folder: Path, name: str) -> None:
    """Let this process believe that it is another time: what asks the clock by these ways is told so."""
    try:
        seconds = json.loads((folder / SKEW_FILE).read_text(encoding="utf-8")).get(name, 0.0)
    except FileNotFoundError:
        return
    if not seconds:
        return
    from celery.worker import request  # noqa: PLC0415

    real = time.time

    class Skewed(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.fromtimestamp(real() + seconds, tz)

    time.time = lambda: real() + seconds
    request.datetime = Skewed  # the clock by which Celery tells whether a message has expired


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

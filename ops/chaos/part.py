"""`python -m ops.chaos.part worker|beat|receiver|producer RUN [NAME]`: one process of the stack in a fault run.

It is the product's own process, after a few things: its constants are scaled (unless the run is at real times), its
clock is set wrong if a fault says so, traps are set up, and a broken variant is patched in if this run is about one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jobs.settings import Settings
from ops.chaos.clock import skew
from ops.chaos.produce import produce
from ops.chaos.quick import scale
from ops.chaos.traps import Traps, set_up
from ops.chaos.variants import VARIANTS

RUN_FILE = "run.json"
READY_SUFFIX = ".ready"  # of a file that a worker makes when it takes work
SKEW_SUFFIX = ".skew"  # of the file that says by how many seconds the clock of a process is wrong


def main(arguments: Sequence[str]) -> int:
    role, folder = arguments[0], Path(arguments[1])
    name = arguments[2] if len(arguments) > 2 else role
    run = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    if not run["real_times"]:
        scale(role)
    if run["broken"] and role in ("worker", "receiver"):
        VARIANTS[run["broken"]].patch()
    settings = Settings.load()
    if (skewed := folder / f"{name}{SKEW_SUFFIX}").exists():
        skew(float(skewed.read_text(encoding="utf-8")))
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
    return run_worker(settings)


def _beat(settings: Settings) -> int:
    from worker.beat import run_beat  # noqa: PLC0415

    return run_beat(settings)


def _receiver(settings: Settings, announcement: Path) -> int:
    from worker.receiver import run_receiver  # noqa: PLC0415

    return run_receiver(settings, announcement)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

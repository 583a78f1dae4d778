"""Beat's process: `run_beat` sends the ticks, and blocks until it is told to leave."""

from __future__ import annotations

import functools
from pathlib import Path

from jobs.policy import Policy
from jobs.queue import CONTROL_LIST, make_app
from jobs.server import connect
from jobs.settings import Settings
from jobs.store import JobStore
from worker.logs import set_up_logging
from worker.ticks import Ticks


def run_beat(settings: Settings) -> int:
    """Send the ticks that dispatch and sweep run by, until SIGTERM or SIGINT."""
    set_up_logging()
    trace = tick_file(settings)
    trace.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = JobStore(connect(settings.redis_address()), Policy.from_settings(settings))
    ticks = functools.partial(Ticks, waiting=lambda: store.gate.messages([CONTROL_LIST]), alive=trace.touch)
    make_app(settings).Beat(scheduler_cls=ticks, loglevel="INFO", quiet=True).run()
    return 0


def tick_file(settings: Settings) -> Path:
    """Beat touches it when a tick has reached the broker, or enough wait there: its age tells whether beat works."""
    return settings.data_dir / "beat.tick"

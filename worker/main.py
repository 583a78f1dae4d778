"""The worker's processes: `run_worker` and `run_beat`, each blocking until it is told to leave."""

from __future__ import annotations

import functools
from pathlib import Path

from celery import signals

from jobs.policy import Policy
from jobs.queue import CONTROL_LIST, make_app
from jobs.server import connect
from jobs.settings import Settings
from jobs.store import JobStore
from worker.context import Context, process_name
from worker.logs import set_up_logging
from worker.tasks import register
from worker.ticks import Ticks
from worker.watchdog import Watchdog


def run_worker(settings: Settings) -> int:
    """Work until SIGTERM or SIGINT; then finish what is on the wire, and leave.

    Raises:
        SettingsError: no API is configured.
    """
    set_up_logging()
    app = make_app(settings)
    context = Context.open(settings, app)
    register(app, context)

    def leave(**_: object) -> None:
        context.leaving.set()

    signals.worker_shutting_down.connect(leave, weak=False)
    context.keeper.start()
    watchdog = Watchdog(context)
    watchdog.start()

    def ready(**_: object) -> None:
        watchdog.hears()

    signals.worker_ready.connect(ready, weak=False)
    try:
        worker = app.Worker(
            hostname=f"blendq@{process_name()}", loglevel="INFO", without_gossip=True, without_mingle=True, quiet=True
        )
        worker.start()
        # Not told to, it left because something broke inside Celery: a supervisor must see that, and start another.
        return int(worker.exitcode or 0) if context.leaving.is_set() else 1
    finally:
        context.close()


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

"""The worker's process: `run_worker` blocks until it is told to leave."""

from __future__ import annotations

from celery import signals

from jobs.queue import make_app
from jobs.settings import Settings
from worker.context import Context, process_name
from worker.logs import set_up_logging
from worker.tasks import register
from worker.threads import Threads
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
            pool=Threads,
            hostname=f"blendq@{process_name()}",
            loglevel="INFO",
            without_gossip=True,
            without_mingle=True,
            quiet=True,
        )
        worker.start()
        # Not told to, it left because something broke inside Celery: a supervisor must see that, and start another.
        return int(worker.exitcode or 0) if context.leaving.is_set() else 1
    finally:
        context.close()

"""The app that flower looks at: `celery -A ops.flower flower`. The same as the workers', so it sees their queues."""

from __future__ import annotations

from jobs.queue import make_app
from jobs.settings import Settings

app = make_app(Settings.load())

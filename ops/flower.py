"""The app that flower looks at: `celery -A ops.flower flower`. The same as the workers', so it sees their queues."""

from __future__ import annotations

from jobs.queue import make_app
from jobs.settings import Settings

# kombu lets every consumer put back what a dead one had taken. Flower only looks, so it keeps a book of its own, and
# needs no right to the workers' messages (ops/redis-users.acl).
_OWN_BOOK = {f"{name}_key": f"flower.{name}" for name in ("unacked", "unacked_index", "unacked_mutex")}

app = make_app(Settings.load())
app.conf.broker_transport_options |= _OWN_BOOK

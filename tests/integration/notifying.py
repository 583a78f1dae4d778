"""What the tests of outgoing webhooks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis

from jobs import events
from jobs.net.addresses import AddressRules
from jobs.net.signature import new_secret
from jobs.store import JobStore
from jobs.telling.webhooks import Webhook
from tests.integration.workbench import wait_for
from tests.unit.lifecycle_world import new_job
from worker.notify import Notifier

OWN_SECRET = new_secret()


HERE = AddressRules.of("127.0.0.0/8")


Sender = Callable[..., Notifier]


def add(store: JobStore, job_id: str = "job_1", *, hook: str | None = None, **fields: Any) -> None:
    now = store.now()
    job = new_job(id=job_id, created_at=now, due_at=now, order=store.next_orders(1), **fields)
    request = job.request.model_copy(update={"notify_hook": hook, "custom_id": f"mine-{job_id}"})
    store.create([job.but(request=request)])


def cancel(store: JobStore, *job_ids: str) -> None:
    for job_id in job_ids:
        store.apply(job_id, events.Cancel())


def send_until(sender: Notifier, condition: Callable[[], bool], told: Callable[[], object] = lambda: "") -> None:
    def turn() -> bool:
        sender.look()
        return condition()

    wait_for(turn, lambda: f"not in time: {told()}")


def idle(store: JobStore, client: redis.Redis) -> Callable[[], bool]:
    """Whether nothing waits to be handed out or sent."""
    return lambda: client.zcard(store.keys.outbox) == 0 and store.outbox.lanes() == []


def statuses(store: JobStore, webhook: Webhook | str) -> list[int | None]:
    """Of the deliveries, the oldest first."""
    name = webhook if isinstance(webhook, str) else webhook.id
    return [one.status for one in reversed(store.webhooks.deliveries(name))]

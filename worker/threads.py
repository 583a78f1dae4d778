"""Threads: the pool of a worker's threads; Celery's loop is told when one of them is free."""

from __future__ import annotations

from typing import Any

from celery.concurrency.thread import TaskPool
from kombu.asynchronous import Hub


class Threads(TaskPool):  # type: ignore[misc]  # celery has no types
    """Celery's own takes no message while all threads are busy, and looks again when its next timer is due: up to a
    second in which the only thread of a worker does nothing.
    """

    def register_with_event_loop(self, loop: Hub) -> None:
        """Celery does, before a message comes. Kombu's "current" loop is none once a connection was lost."""
        self._loop = loop

    def on_apply(self, *args: Any, **named: Any) -> Any:
        applied = super().on_apply(*args, **named)
        applied.f.add_done_callback(self._wake_loop)  # called when Celery has crossed the task off
        return applied

    def _wake_loop(self, _: object) -> None:
        self._loop.call_soon(_nothing)


def _nothing() -> None:
    """To be called wakes the loop up, and there is no more to it."""

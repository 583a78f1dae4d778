"""Ticks: the clock that dispatch and sweep run by, so that no lost wake-up can stop anything."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery.beat import Scheduler

from jobs.errors import StoreUnavailable

# Ticks that nobody takes must not pile up. They have no time to live instead: the clock of whoever takes them may
# differ from ours by hours.
MAX_WAITING = 20

_log = logging.getLogger(__name__)


class Ticks(Scheduler):  # type: ignore[misc]  # celery has no types
    """Celery's scheduler in memory, which sends nothing while enough ticks wait.

    Args:
        waiting: how many messages wait where ticks go; may raise StoreUnavailable.
        alive: called when a tick was sent, or need not be.
    """

    def __init__(self, *args: Any, waiting: Callable[[], int], alive: Callable[[], None], **named: Any) -> None:
        self._waiting = waiting
        self._alive = alive
        super().__init__(*args, **named)

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **named: Any) -> Any:
        try:
            enough = self._waiting() >= MAX_WAITING
        except StoreUnavailable as error:
            _log.warning("tick %s not sent: %s", entry.name, error)
            return None
        sent = None if enough else super().apply_async(entry, producer, advance, **named)
        self._alive()
        return sent

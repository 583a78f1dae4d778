"""Callbacks, with the real servers' manners: no signature, sent once, never retried, ten at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from ops.sandbox.faults import Chance, Faults

THREADS = 10
TIMEOUT_SECONDS = 60.0  # the real servers wait for ever; this one has to be able to end
LONGEST_DETOUR_SECONDS = 0.25  # how long `reorder_callbacks` may hold one back


@dataclass(frozen=True)
class _Delivery:
    hook: str
    body: bytes
    done: Callable[[], None]


class Callbacks:
    def __init__(self, faults: Callable[[], Faults], chance: Chance) -> None:
        self._faults = faults
        self._chance = chance
        self._queue: queue.SimpleQueue[_Delivery | None] = queue.SimpleQueue()
        self._counts: Counter[str] = Counter()
        self._client = httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False)
        self._timers: set[asyncio.TimerHandle] = set()
        # Daemons: a receiver that never answers must not keep the process alive.
        for number in range(THREADS):
            threading.Thread(target=self._work, name=f"callback-{number}", daemon=True).start()

    def send(self, hook: str | None, task: dict[str, Any]) -> asyncio.Future[None]:
        """Send the task as it is now; the future ends when every copy was delivered, or failed, or was dropped."""
        loop = asyncio.get_running_loop()
        finished: asyncio.Future[None] = loop.create_future()
        faults = self._faults()
        if hook is None or self._chance.strikes(faults.drop_callbacks):
            self._counts["dropped"] += hook is not None
            finished.set_result(None)
            return finished
        remaining = 1 + faults.repeat_callbacks

        def one_done() -> None:
            nonlocal remaining
            remaining -= 1
            if remaining == 0 and not finished.done():
                finished.set_result(None)

        delivery = _Delivery(hook, json.dumps(task, ensure_ascii=False).encode(), lambda: _tell(loop, one_done))
        for _ in range(remaining):
            self._post(delivery, loop, faults)
        return finished

    def as_json(self) -> dict[str, int]:
        """How many were delivered, failed, dropped and still wait."""
        return {name: self._counts[name] for name in ("delivered", "refused", "failed", "dropped")} | {
            "waiting": self._queue.qsize() + len(self._timers)
        }

    def stop(self) -> None:
        for timer in self._timers:
            timer.cancel()
        for _ in range(THREADS):
            self._queue.put(None)

    def _post(self, delivery: _Delivery, loop: asyncio.AbstractEventLoop, faults: Faults) -> None:
        delay = faults.delay_callbacks_seconds
        if faults.reorder_callbacks:
            delay += self._chance.between(0, LONGEST_DETOUR_SECONDS)
        if delay <= 0:
            self._queue.put(delivery)
            return

        def due() -> None:
            self._timers.discard(timer)
            self._queue.put(delivery)

        timer = loop.call_later(delay, due)
        self._timers.add(timer)

    def _work(self) -> None:
        while (delivery := self._queue.get()) is not None:
            self._counts[self._deliver(delivery)] += 1
            delivery.done()

    def _deliver(self, delivery: _Delivery) -> str:
        try:
            answer = self._client.post(
                delivery.hook, content=delivery.body, headers={"Content-Type": "application/json"}
            )
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            return "failed"
        return "delivered" if answer.is_success else "refused"


def _tell(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: the sandbox is leaving
        loop.call_soon_threadsafe(call)

"""Callbacks, with the real servers' manners: no signature, sent once, never retried, ten at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import select
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit, urlunsplit

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
        post = _Post()
        while (delivery := self._queue.get()) is not None:
            self._counts[post.deliver(delivery)] += 1
            delivery.done()


class _Post:
    """One thread's connections, kept while the receivers keep them."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], HTTPConnection] = {}

    def deliver(self, delivery: _Delivery) -> str:
        """Send it once; say how that went: delivered, refused or failed."""
        try:
            target = urlsplit(delivery.hook)
        except ValueError:
            return "failed"
        if target.scheme not in ("http", "https") or not target.netloc:
            return "failed"
        place = (target.scheme, target.netloc)
        try:
            connection = self._connection(place)
            path = urlunsplit(("", "", target.path or "/", target.query, ""))
            connection.request("POST", path, delivery.body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, HTTPException, ValueError):
            self._drop(place)
            return "failed"
        return "delivered" if 200 <= answer.status < 300 else "refused"

    def _connection(self, place: tuple[str, str]) -> HTTPConnection:
        if (kept := self._kept.get(place)) is not None and not _was_closed(kept):
            return kept
        self._drop(place)
        kind = HTTPSConnection if place[0] == "https" else HTTPConnection
        self._kept[place] = kind(place[1], timeout=TIMEOUT_SECONDS)
        return self._kept[place]

    def _drop(self, place: tuple[str, str]) -> None:
        if (kept := self._kept.pop(place, None)) is not None:
            kept.close()


def _was_closed(connection: HTTPConnection) -> bool:
    """Whether the other side has left: between two answers, only an end can be read."""
    if connection.sock is None:
        return True
    watch = select.poll()
    watch.register(connection.sock, select.POLLIN)
    return bool(watch.poll(0))


def _tell(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: the sandbox is leaving
        loop.call_soon_threadsafe(call)

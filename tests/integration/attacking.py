"""What an attacker of the receiver does, and how it is answered."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobs.events import Event
from jobs.keys import Keys
from jobs.link import Command, Link
from jobs.policy import Policy
from jobs.server import connect
from jobs.settings import Settings
from jobs.store import JobStore
from tests.integration.listening import Listening, everything, listening
from worker.hooks import Hooks
from worker.http import (
    MAX_UNREAD_BYTES,
)

OLD, NEW = b"the-old-secret-of-a-test", b"the-new-secret-of-a-test"
SOON_SECONDS = 0.4
# Longer than any deadline that a test sets, and shorter than those of the settings' defaults.
PROMPT_SECONDS = 5.0

Listen = Callable[..., Listening]


def head(path: str, *headers: str, method: str = "POST", length: int = 100) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *headers, "", ""]).encode()


def ask(receiver: Listening, message: bytes, source: str = "127.0.0.1") -> bytes:
    """The head of the answer, byte for byte."""
    with receiver.connect(source) as connection:
        connection.sendall(message)
        answer = b""
        while b"\r\n\r\n" not in answer and (part := connection.recv(65536)):
            answer += part
    return answer


def code(answer: bytes) -> int:
    return int(answer[9:12])


def sent_until_cut(connection: socket.socket, data: bytes, pause_seconds: float = 0.0) -> int:
    """Send the same again and again; returns how many bytes went out before the other side had enough."""
    sent, give_up_at = 0, time.monotonic() + 30
    while time.monotonic() < give_up_at:
        try:
            sent += connection.send(data)
        except TimeoutError:
            continue  # nobody reads: that alone is no end
        except OSError:
            return sent
        time.sleep(pause_seconds)
    pytest.fail(f"it was not cut: {sent} bytes went out")


def sent_until_stuck(connection: socket.socket, data: bytes) -> int:
    """Send the same again and again; returns how many bytes went out before the other side took no more."""
    sent = 0
    try:
        while sent < 64 * MAX_UNREAD_BYTES:
            sent += connection.send(data)
    except TimeoutError:
        pass
    return sent


def seconds_until_cut(connection: socket.socket) -> float:
    began = time.monotonic()
    everything(connection)
    return time.monotonic() - began


class SlowStore(JobStore):
    """A store that is answered only when it is let."""

    def __init__(self, redis_url: str, keys: Keys) -> None:
        super().__init__(connect(redis_url), Policy(), keys)
        self.let = threading.Event()
        self.link = _SlowLink(redis_url, self.let)
        self.batches: list[int] = []  # how many callbacks came together
        steps = self.applying.steps

        def counted(happened: Sequence[tuple[str, Event]], *known: Any) -> Any:
            self.batches.append(len(happened))
            return steps(happened, *known)

        self.applying.steps = counted  # type: ignore[method-assign,assignment]


class _SlowLink(Link):
    def __init__(self, url: str, let: threading.Event) -> None:
        super().__init__(url)
        self._let = let

    def ask(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        return asyncio.get_running_loop().create_task(self._ask(commands))

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        await asyncio.to_thread(self._let.wait, 30)
        return await super().ask(commands)


@contextmanager
def receivers(redis_url: str, keys: Keys, folder: Path) -> Iterator[Listen]:
    """Starts receivers with the settings that it is given; each knows one job, `job_1`."""
    with ExitStack() as stack:

        def start(store: SlowStore | None = None, hooks: Hooks | None = None, **fields: Any) -> Listening:
            settings = Settings.load({}, data_dir=folder, redis_url=redis_url, receiver_port=0, **fields)
            link = store.link if store else None
            one: AbstractContextManager[Listening] = listening(settings, keys, store=store, link=link, hooks=hooks)
            made = stack.enter_context(one)
            if store is None:
                made.add()
            return made

        yield start

"""A receiver as its process runs it, in a thread of the test's own; and what its tests say to it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvloop

from jobs import events
from jobs.job import Job
from jobs.keys import Keys
from jobs.link import Link
from jobs.policy import Policy
from jobs.server import connect, to_text
from jobs.settings import Settings
from jobs.store import JobStore
from tests.integration.workbench import Written
from tests.unit.lifecycle_world import new_job
from worker.callbacks import Limits, Receiver
from worker.hooks import Hooks
from worker.receiver import listen, serve

SECRET = b"a-secret-of-the-tests"


@dataclass
class Listening:
    """A receiver that listens, and what it is made of."""

    http: httpx.Client
    store: JobStore
    hooks: Hooks
    wakeups: Written
    port: int
    application: Receiver
    leave: Callable[[], object]  # as a signal tells it to

    def add(self, job_id: str = "job_1") -> Job:
        """A job whose first attempt is committed, and not answered."""
        now = self.store.now()
        self.store.create([new_job(id=job_id, created_at=now, due_at=now, order=self.store.next_orders(1))])
        for event in (events.Release(), events.Claim("w1"), events.Commit(1)):
            self.store.apply(job_id, event)
        return self.store.get(job_id)

    def errands(self, queue: str) -> list[str]:
        """What has been put in there for the workers."""
        return [to_text(one) for one in self.store._redis.lrange(self.store.keys.errands(queue), 0, -1)]

    def path(self, job_id: str = "job_1", attempt: int = 1) -> str:
        return f"/hooks/{self.hooks.token(job_id, attempt)}"

    def call(self, body: Any, job_id: str = "job_1", attempt: int = 1) -> int:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post(self.path(job_id, attempt), content=content).status_code

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10, source_address=(source, 0))


def task(status: str = "IN_PROGRESS", **fields: Any) -> dict[str, Any]:
    return {"id": "t1", "action": "BLEND", "status": status, "progress": "35%", "unheard": {"of": 1}} | fields


@contextmanager
def listening(
    settings: Settings,
    keys: Keys,
    *,
    hooks: Hooks | None = None,
    store: JobStore | None = None,
    link: Link | None = None,
) -> Iterator[Listening]:
    client = connect(settings.redis_address())
    store = store or JobStore(client, Policy(), keys)
    hooks, wakeups = hooks or Hooks([SECRET], None), Written(settings, client, keys)
    listener = listen(settings)
    link = link or Link(settings.redis_address())
    application = Receiver(store, link, hooks, wakeups, Limits.from_settings(settings))
    port = listener.getsockname()[1]
    try:
        with (
            serving(listener, application, settings) as leave,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as http,
        ):
            yield Listening(http, store, hooks, wakeups, port, application, leave)
    finally:
        store.close()


@contextmanager
def serving(listener: socket.socket, application: Receiver, settings: Settings) -> Iterator[Callable[[], object]]:
    """It may be called at once: what is asked before it serves waits in the kernel."""
    runner, leaving = asyncio.Runner(loop_factory=uvloop.new_event_loop), asyncio.Event()
    loop = runner.get_loop()
    thread = threading.Thread(target=runner.run, args=(serve(listener, application, settings, leaving),))
    thread.start()
    try:
        yield lambda: loop.call_soon_threadsafe(leaving.set)
    finally:
        loop.call_soon_threadsafe(leaving.set)
        thread.join()
        runner.close()


def everything(connection: socket.socket) -> bytes:
    """What is answered until the other side hangs up."""
    answer = b""
    try:
        while part := connection.recv(65536):
            answer += part
    except ConnectionResetError:
        pass
    return answer

"""A worker without its processes: every step of the work, called by hand, against a real server and a real sandbox."""

from __future__ import annotations

import io
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis
from PIL import Image

from jobs.doors import DEFAULT
from jobs.epoch import Epoch
from jobs.errands import COLLECTS, Errands
from jobs.job import Job, Status
from jobs.keys import Keys
from jobs.net.download import Downloads
from jobs.pictures.images import ImageStore
from jobs.policy import Policy
from jobs.queue import Wakeups, make_app
from jobs.redis_client import RedisClient
from jobs.request import BlendRequest
from jobs.server import connect
from jobs.settings import Settings
from jobs.slots.pause import Pause
from jobs.store import JobStore
from worker.collect import collect
from worker.context import Context, open_images
from worker.dispatch import dispatch
from worker.hooks import Hooks
from worker.lease import Keeper
from worker.notify import Notifier
from worker.proxies import Proxies
from worker.reconcile import sweep
from worker.submit import submit

DEADLINE_SECONDS = 30.0
QUICK = {
    "poll_min_seconds": 0.05,
    "poll_max_seconds": 0.2,
    "backoff_base_seconds": 0.05,
    "backoff_cap_seconds": 0.2,
    "connect_timeout_seconds": 2.0,
    "answer_timeout_seconds": 3.0,
    "min_free_disk_percent": 0.0,
}


QUICK_TASKS = ("--speed", "100", "--task-seconds", "5", "10")


class Written(Wakeups):
    """Wake-ups that wait instead of being sent; a test decides which of them arrive."""

    def __init__(self, settings: Settings, client: redis.Redis, keys: Keys) -> None:
        super().__init__(make_app(settings), Errands(client, keys))
        self.submits: list[str] = []
        self.dispatches = 0
        self.calls: list[str] = []

    def submit(self, *job_ids: str) -> None:
        self.submits += job_ids

    def collects(self) -> list[str]:
        """Take all that wait."""
        return [one.job_id for one in iter(lambda: self.errands.take([COLLECTS]), None)]

    def dispatch(self) -> None:
        self.dispatches += 1

    def call(self, queue: str) -> None:
        self.calls.append(queue)


@dataclass
class Workbench:
    """One worker's context, and the sandbox that it talks to."""

    context: Context
    sandbox: httpx.Client
    wakeups: Written = field(init=False)

    def __post_init__(self) -> None:
        assert isinstance(self.context.wakeups, Written)
        self.wakeups = self.context.wakeups

    @property
    def store(self) -> JobStore:
        return self.context.store

    @property
    def pause(self) -> Pause | None:
        """Why the one API is given no jobs."""
        return self.store.circuit.read([DEFAULT])[DEFAULT].pause

    def add(self, job_id: str = "job_1", *, pictures: int = 2, **options: Any) -> Job:
        """Enqueue a job with pictures of its own."""
        digests = tuple(_picture(self.context.images, f"{job_id}-{number}") for number in range(pictures))
        now = self.store.now()
        request = BlendRequest(images=digests, **options)
        job = Job(id=job_id, request=request, created_at=now, due_at=now, order=self.store.next_orders(1))
        self.store.create([job])
        return job

    def submit(self, job_id: str = "job_1") -> Job:
        """Dispatch, then submit this one job."""
        dispatch(self.context)
        submit(self.context, job_id)
        return self.store.get(job_id)

    def sweep(self, job_id: str = "job_1") -> Job:
        sweep(self.context)
        return self.store.get(job_id)

    def work_until(self, *statuses: Status, job_id: str = "job_1") -> Job:
        """Do what beat and the wake-ups would do, until the job is in one of the statuses."""

        def turn() -> bool:
            dispatch(self.context)
            sweep(self.context)
            while self.wakeups.submits:
                submit(self.context, self.wakeups.submits.pop())
            for one in self.wakeups.collects():
                collect(self.context, one)
            return self.store.get(job_id).status in statuses

        wait_for(turn, lambda: f"{job_id} is {self.store.get(job_id).status}: {self.history(job_id)}")
        return self.store.get(job_id)

    def history(self, job_id: str = "job_1") -> list[str]:
        return [f"{entry.event} {entry.after}: {entry.detail}" for entry in self.store.history(job_id)]

    def faults(self, **changes: Any) -> None:
        self.sandbox.post("/sandbox/faults", json=changes).raise_for_status()

    def accepted(self) -> list[dict[str, Any]]:
        """What the sandbox says it was paid for."""
        entries: list[dict[str, Any]] = self.sandbox.get("/sandbox/ledger").json()["accepted"]
        return entries


Open = Callable[..., Workbench]


def wait_for(condition: Callable[[], bool], told: Callable[[], str], seconds: float = DEADLINE_SECONDS) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, told()
        time.sleep(0.01)


def under_way(client: redis.Redis) -> set[Any]:
    """The connections that a call has at this moment."""
    assert isinstance(client, RedisClient)
    return client.connection_pool._in_use_connections - {connection for connection, _ in client._idle}


def open_workbench(redis_url: str, keys: Keys, data_dir: Path, sandbox_url: str, **settings: Any) -> Workbench:
    given = {"data_dir": data_dir, "redis_url": redis_url, "api_url": sandbox_url} | QUICK | settings
    made = Settings.load({}, **given)
    client, leaving = connect(redis_url), threading.Event()
    store = JobStore(client, Policy.from_settings(made), keys)
    context = Context(
        settings=made,
        store=store,
        images=open_images(made),
        proxies=Proxies(made),
        downloads=Downloads.from_settings(made),
        hooks=Hooks.from_settings(made),
        wakeups=Written(made, client, keys),
        epoch=Epoch(client, keys, data_dir),
        keeper=Keeper(store, leaving),
        notifier=Notifier.from_settings(made, store, leaving),
        leaving=leaving,
        name="bench",
    )
    return Workbench(context, httpx.Client(base_url=sandbox_url, timeout=10))


def _picture(images: ImageStore, seed: str) -> str:
    out = io.BytesIO()
    shade = zlib.crc32(seed.encode())
    Image.new("RGB", (24, 24), (shade & 255, shade >> 8 & 255, shade >> 16 & 255)).save(out, "PNG")
    return images.put_bytes(out.getvalue(), name=seed).digest

"""Context: what the steps of a job's work share within one process."""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import dataclass, field
from functools import cached_property

from celery import Celery

from jobs.epoch import Epoch
from jobs.errands import Errands
from jobs.errors import SettingsError
from jobs.net.download import Downloads
from jobs.pictures.images import ImageStore
from jobs.policy import Policy
from jobs.queue import Wakeups
from jobs.records import BEFORE_ALL
from jobs.server import connect
from jobs.settings import Settings
from jobs.store import JobStore
from jobs.upstreams import Upstream
from worker.hooks import Hooks
from worker.in_hand import InHand
from worker.lease import Keeper
from worker.notify import Notifier
from worker.proxies import Proxies

# Records, of 5 kB in memory: as many as are released and not claimed yet, unless other workers claim them.
MAX_RELEASED = 500


def process_name() -> str:
    """Names this process in records and logs."""
    return f"{socket.gethostname()}-{os.getpid()}"


class Activity:
    """What a worker process is doing: how many tasks at this moment, and when it last began or ended one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.busy = 0
        self.last_at = time.monotonic()

    def __enter__(self) -> None:
        self._count(1)

    def __exit__(self, *_: object) -> None:
        self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self.busy += change
            self.last_at = time.monotonic()


@dataclass
class Bookmark:
    """How far a look through what is long has come: behind the job of this `order`."""

    after: int = BEFORE_ALL


@dataclass(frozen=True)
class Context:
    """One of each, shared by all threads of a worker process."""

    settings: Settings
    store: JobStore
    images: ImageStore
    proxies: Proxies
    downloads: Downloads
    hooks: Hooks
    wakeups: Wakeups
    epoch: Epoch
    keeper: Keeper
    notifier: Notifier
    leaving: threading.Event  # set when the process is told to end
    name: str = field(default_factory=process_name)
    activity: Activity = field(default_factory=Activity)
    # Of jobs that were released by this process: most likely it claims them too.
    released: InHand = field(default_factory=lambda: InHand(MAX_RELEASED))
    # Where the next look for jobs to forget begins (`worker.retention`).
    forgetting: Bookmark = field(default_factory=Bookmark)

    @cached_property
    def apis(self) -> tuple[Upstream, ...]:
        """Those of the settings, which make them anew each time."""
        return self.settings.apis

    @classmethod
    def open(cls, settings: Settings, app: Celery) -> Context:
        """
        Raises:
            SettingsError: no API is configured.
        """
        if not settings.apis:
            raise SettingsError("no API is configured: set BLENDQ_API_URL and BLENDQ_API_KEY, or BLENDQ_UPSTREAMS")
        client = connect(settings.redis_address())
        store = JobStore(client, Policy.from_settings(settings))
        leaving = threading.Event()
        return cls(
            settings=settings,
            store=store,
            images=open_images(settings),
            proxies=Proxies(settings),
            downloads=Downloads.from_settings(settings),
            hooks=Hooks.from_settings(settings),
            wakeups=Wakeups(app, Errands(client)),
            epoch=Epoch(client, store.keys, settings.data_dir),
            keeper=Keeper(store, leaving),
            notifier=Notifier.from_settings(settings, store, leaving),
            leaving=leaving,
        )

    def close(self) -> None:
        self.notifier.close()
        self.proxies.close()
        self.downloads.close()
        self.store.close()


def open_images(settings: Settings) -> ImageStore:
    """The store of results: the same folder as the producers' pictures, with the limits for what comes back."""
    return ImageStore(
        settings.data_dir / "images", max_bytes=settings.max_result_bytes, max_pixels=settings.max_image_pixels
    )

"""The sandbox itself: one server of one family, put together from its parts."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ops.sandbox import answers
from ops.sandbox.accounts import Accounts
from ops.sandbox.callbacks import Callbacks
from ops.sandbox.faults import Chance, Faults
from ops.sandbox.gallery import Gallery
from ops.sandbox.ledger import Ledger
from ops.sandbox.life import Life
from ops.sandbox.options import SandboxOptions
from ops.sandbox.personalities import PERSONALITIES
from ops.sandbox.tasks import Task, TaskMemory

PICTURE_THREADS = 2


class Sandbox:
    """All state of one running sandbox. Everything but picture work and callbacks happens on the event loop.

    Args:
        directory: where tasks, ledger and pictures are kept.
        base_url: what picture links begin with.
    """

    def __init__(self, options: SandboxOptions, directory: Path, base_url: str) -> None:
        self.options = options
        self.personality = PERSONALITIES[options.personality]
        self.faults = options.faults
        self.chance = Chance(options.seed)
        self.ledger = Ledger(directory / "ledger.jsonl")
        self.memory = TaskMemory(directory / "tasks.jsonl", forget=options.forget)
        self.accounts = Accounts(options.accounts, options.core_size, options.queue_size)
        self.workers = ThreadPoolExecutor(PICTURE_THREADS, thread_name_prefix="pictures")
        self.gallery = Gallery(directory, self.workers, options.shrink)
        self.callbacks = Callbacks(self.current_faults, self.chance)
        self.life = self._new_life()
        self._base_url = base_url.rstrip("/")

    def current_faults(self) -> Faults:
        return self.faults

    def image_url(self, task: Task) -> str | None:
        name = task.shown_picture or task.preview
        return f"{self._base_url}{self.gallery.link(name)}" if name else None

    def show(self, task: Task) -> dict[str, Any]:
        """The task as JSON, in the family's manner."""
        return answers.task_json(self.personality, task, self.image_url(task))

    def notify(self, task: Task) -> asyncio.Future[None]:
        return self.callbacks.send(task.notify_hook, self.show(task))

    def new_id(self) -> str:
        """Milliseconds and three random digits, as the real servers make them; here they are kept apart."""
        while (task_id := f"{time.time_ns() // 1_000_000}{self.chance.digits(3)}") in self.memory:
            pass
        return task_id

    def forget(self) -> None:
        """What a restart does to a server that keeps its tasks in memory: they are unknown, and nobody runs them."""
        self.life.stop()
        self.memory.forget()

    def stop(self) -> None:
        self.life.stop()
        self.callbacks.stop()
        self.workers.shutdown(wait=False, cancel_futures=True)
        for part in (self.ledger, self.memory, self.gallery):
            part.close()

    def _new_life(self) -> Life:
        return Life(
            personality=self.personality,
            accounts=self.accounts,
            memory=self.memory,
            gallery=self.gallery,
            faults=self.current_faults,
            chance=self.chance,
            task_seconds=self.options.real_task_seconds,
            changed=self.notify,
        )

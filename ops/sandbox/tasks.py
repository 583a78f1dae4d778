"""Tasks, and the server's memory of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ops.sandbox.journal import Journal
from ops.sandbox.pictures import PictureSpec


class Status(StrEnum):
    NOT_START = "NOT_START"
    SUBMITTED = "SUBMITTED"
    IN_PROGRESS = "IN_PROGRESS"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    CANCEL = "CANCEL"


FINAL = frozenset({Status.SUCCESS, Status.FAILURE, Status.CANCEL})


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(eq=False, kw_only=True)
class Task:
    """One accepted task. Compared by identity: with the fault `duplicate_ids`, two tasks carry one id."""

    id: str
    serial: int
    action: str
    description: str
    picture: PictureSpec
    content: str = ""
    state: str | None = None
    notify_hook: str | None = None
    instance_id: str = ""
    bot_type: str = "MID_JOURNEY"
    parent_id: str | None = None
    submit_time: int = 0
    start_time: int | None = None
    finish_time: int | None = None
    status: Status = Status.NOT_START
    progress: str | None = None
    fail_reason: str | None = None
    preview: str | None = None
    shown_picture: str | None = None
    must_fail: bool = False

    @property
    def picture_name(self) -> str:
        """Of the picture made from this task's own inputs; no two tasks share it."""
        return f"{self.serial:06d}_{self.picture.digest()[:16]}"

    @property
    def preview_name(self) -> str:
        return f"preview_{self.picture_name}"

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def as_json(self) -> dict[str, Any]:
        """Shallow on purpose: it is written at every change, and `asdict` would cost more than all the rest."""
        return vars(self) | {"picture": self.picture.as_json()}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Task:
        picture = fields.pop("picture")
        status = Status(fields.pop("status"))
        return cls(**fields, status=status, picture=PictureSpec.from_json(picture))


class TaskMemory:
    """The tasks that the server knows, kept on disk so that a restart remembers them."""

    def __init__(self, path: Path, *, forget: bool) -> None:
        self._journal = Journal(path)
        self._tasks: dict[str, Task] = {}
        self._by_serial: dict[int, Task] = {}
        if not forget:
            for entry in self._journal.entries():
                self._remember(Task.from_json(entry))
        self._journal.rewrite(task.as_json() for task in self._tasks.values())

    def __iter__(self) -> Iterator[Task]:
        """In the order of acceptance."""
        return iter(self._tasks.values())

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._tasks

    def get(self, task_id: str) -> Task | None:
        return self._tasks.get(task_id)

    def by_serial(self, serial: int) -> Task | None:
        return self._by_serial.get(serial)

    def newest(self) -> Task | None:
        return next(reversed(self._tasks.values()), None)

    def find(self, matches: Callable[[Task], bool]) -> Task | None:
        return next((task for task in self if matches(task)), None)

    def save(self, task: Task) -> None:
        self._remember(task)
        self._journal.append(task.as_json())

    def forget(self) -> None:
        self._tasks.clear()
        self._by_serial.clear()
        self._journal.rewrite(())

    def close(self) -> None:
        self._journal.close()

    def _remember(self, task: Task) -> None:
        known = self._tasks.get(task.id)
        if known is None or known.serial <= task.serial:
            self._tasks[task.id] = task
        self._by_serial[task.serial] = task

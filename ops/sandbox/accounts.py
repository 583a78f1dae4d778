"""Accounts: each runs a few tasks at once and lets a few more wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ops.sandbox.tasks import Task

_FIRST_INSTANCE = 1118138338562560102


@dataclass(eq=False)
class Account:
    instance_id: str
    core_size: int
    queue_size: int
    running: set[Task] = field(default_factory=set)
    waiting: deque[Task] = field(default_factory=deque)

    @property
    def has_free_core(self) -> bool:
        return len(self.running) < self.core_size and not self.waiting

    @property
    def is_full(self) -> bool:
        return not self.has_free_core and len(self.waiting) >= self.queue_size

    def take(self, task: Task) -> int:
        """Give the task a core or a place in the queue; return how many wait, this one counted, or 0 when it runs."""
        task.instance_id = self.instance_id
        if self.has_free_core:
            self.running.add(task)
            return 0
        self.waiting.append(task)
        return len(self.waiting)

    def startable(self) -> list[Task]:
        """Move waiting tasks onto free cores."""
        started: list[Task] = []
        while self.waiting and len(self.running) < self.core_size:
            task = self.waiting.popleft()
            self.running.add(task)
            started.append(task)
        return started

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.instance_id,
            "channelId": self.instance_id,
            "guildId": "1118138338562560100",
            "enable": True,
            "coreSize": self.core_size,
            "queueSize": self.queue_size,
            "timeoutMinutes": 5,
            "mode": "FAST",
            "remix": False,
            "runningCount": len(self.running),
            "queueCount": len(self.waiting),
            "properties": {},
        }


class Accounts:
    def __init__(self, count: int, core_size: int, queue_size: int) -> None:
        self._accounts: list[Account] = []
        self._retired: list[Account] = []
        self.resize(count, core_size, queue_size)

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts)

    def __len__(self) -> int:
        return len(self._accounts)

    def resize(self, count: int | None, core_size: int | None, queue_size: int | None) -> None:
        """Change how many accounts there are and what each holds; an account that goes finishes what it has."""
        core = core_size if core_size is not None else self._accounts[0].core_size if self._accounts else 3
        queue = queue_size if queue_size is not None else self._accounts[0].queue_size if self._accounts else 10
        wanted = len(self._accounts) if count is None else count
        self._retired += self._accounts[wanted:]
        del self._accounts[wanted:]
        while len(self._accounts) < wanted:
            self._accounts.append(self._returning_or_new(core, queue))
        for account in self._accounts:
            account.core_size, account.queue_size = core, queue

    def _returning_or_new(self, core_size: int, queue_size: int) -> Account:
        instance_id = str(_FIRST_INSTANCE + len(self._accounts))
        for account in self._retired:
            if account.instance_id == instance_id:
                self._retired.remove(account)
                return account
        return Account(instance_id, core_size, queue_size)

    def choose(self, instance_id: str | None) -> Account | None:
        """The account with the most room among those that match; None when none matches."""
        matching = [account for account in self._accounts if instance_id in (None, account.instance_id)]
        return min(matching, key=lambda a: (not a.has_free_core, len(a.waiting), len(a.running)), default=None)

    def holding(self, task: Task) -> Account | None:
        """The account that runs the task or lets it wait."""
        everyone = [*self._accounts, *self._retired]
        return next((a for a in everyone if task in a.running or task in a.waiting), None)

    def waiting(self) -> list[Task]:
        return [task for account in [*self._accounts, *self._retired] for task in account.waiting]

    def clear(self) -> None:
        for account in [*self._accounts, *self._retired]:
            account.running.clear()
            account.waiting.clear()

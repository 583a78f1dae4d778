"""Scene: what every fault may lay hands on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import redis

from ops.chaos.schedule import Fault
from ops.chaos.stack import Stack
from ops.chaos.traps import Traps
from ops.chaos.watch import Watch

ADMIN_SECONDS = 3.0


@dataclass
class Scene:
    """The stack, what is known of it, and a line for whatever must never happen."""

    stack: Stack
    watch: Watch
    traps: Traps
    wrong: list[str] = field(default_factory=list)
    server_lock: threading.RLock = field(default_factory=threading.RLock)

    def admin(self) -> redis.Redis:
        """A client to the server itself, around every relay. Close it."""
        return redis.Redis.from_url(
            self.stack.address, socket_timeout=ADMIN_SECONDS, socket_connect_timeout=ADMIN_SECONDS
        )


# Entered, the fault begins; left, it is healed.
Action = Callable[[Scene, Fault], AbstractContextManager[None]]

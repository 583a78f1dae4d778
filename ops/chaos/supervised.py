"""A process of the stack that a supervisor keeps running, and that faults may end, stop or hold down."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

LEAVE_SECONDS = 20.0


class Part:
    """One process that should run. A fault may hold it down; whatever else ends it is noted."""

    def __init__(self, name: str, command: Sequence[str], start: Callable[[Part], subprocess.Popen[bytes]]) -> None:
        self.name = name
        self.command = tuple(command)
        self.lock = threading.RLock()  # held while a fault has its way with the process
        self.expected = False
        self.done = False
        self._start = start
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def ended_with(self) -> int | None:
        return self._process.poll() if self._process else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        self.expected = False
        self._process = self._start(self)

    def send(self, number: int) -> None:
        with suppress(ProcessLookupError):
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(number)

    def end(self, number: int = signal.SIGKILL, patience_seconds: float = LEAVE_SECONDS) -> bool:
        """End it, by force when it does not leave in time; False when force was needed."""
        self.expected = True
        self.send(number)
        if self._process is None:
            return True
        try:
            self._process.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        return True

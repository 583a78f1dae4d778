"""One process of the local stack: started, watched, started again when it dies, and stopped."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from jobs.errors import PortInUse, StackError
from ops.logs import fresh_log, last_lines
from ops.reaper import Reaper

# A busy machine may take long to load it all; one that dies says so at once.
READY_SECONDS = 120.0
POLL_SECONDS = 0.02
# Dying is answered by starting again, at once and then later and later; so often in a row means that it cannot live.
MAX_DEATHS = 6
BACKOFF_SECONDS = 0.25
# After living so long, a death counts as the first again.
SETTLED_SECONDS = 30.0


class Child:
    """A process that should always run.

    Args:
        name: what people call it; names its log too.
        command: how it is started.
        env: its whole environment.
        folder: where its log and its announcement are kept.
        reaper: ends it at the latest.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        folder: Path,
        reaper: Reaper,
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.announcement = announcement_of(folder, name)
        self._command = command
        self._env = env
        self._reaper = reaper
        self._process: subprocess.Popen[bytes] | None = None
        self._deaths = 0
        self._started_at = 0.0
        self._restart_at: float | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it with a fresh log; the one before is kept as NAME.log.1."""
        fresh_log(self.log)
        self._spawn()

    def _spawn(self) -> None:
        self.announcement.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = self._reaper.spawn(self._command, output=log, env=self._env)
        self._started_at = time.monotonic()
        self._restart_at = None

    def wait_until_ready(self) -> None:
        """Wait for its announcement: the file that it writes when it accepts connections.

        Raises:
            PortInUse, StackError: it died, or took too long; carries the last lines of its log.
        """
        deadline = time.monotonic() + READY_SECONDS
        while not self.announcement.exists():
            if not self.alive:
                raise self._died()
            if time.monotonic() > deadline:
                raise StackError(f"the {self.name} is not ready after {READY_SECONDS:g} s ({self.log})")
            time.sleep(POLL_SECONDS)

    def watch(self) -> str | None:
        """Notice when it has died, and start it again after a moment.

        Returns:
            a line for people, when something happened.

        Raises:
            StackError: it dies again and again.
        """
        if self._process is None or self.alive:
            return None
        now = time.monotonic()
        if self._restart_at is None:
            self._deaths = 1 if now - self._started_at > SETTLED_SECONDS else self._deaths + 1
            if self._deaths >= MAX_DEATHS:
                raise self._died()
            self._restart_at = now + BACKOFF_SECONDS * (2 ** (self._deaths - 1) - 1)
            return f"the {self.name} {self._end()}; starting it again (log: {self.log})"
        if now >= self._restart_at:
            self._spawn()
        return None

    def _died(self) -> StackError:
        text = last_lines(self.log)
        # It said so itself, in words that need no log around them.
        for line in text.splitlines():
            if "cannot listen on" in line:
                return PortInUse(line.strip().removeprefix("blendq: error: "))
        return StackError(f"the {self.name} {self._end()}; its log {self.log} ends with:{text}")

    def _end(self) -> str:
        code = self._process.returncode if self._process else 0
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def ask_to_end(self) -> None:
        if self._process is not None and self.alive:
            self._process.terminate()

    def end(self, seconds: float) -> None:
        """Wait for it to end by itself, and end it by force after that."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def announcement_of(folder: Path, name: str) -> Path:
    return folder / f"{name}.address"

"""A sandbox in a process of its own, for tests, measurements and fault runs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

START_SECONDS = 20.0
STOP_SECONDS = 10.0
_PAUSE_SECONDS = 0.01


class Running(Protocol):
    """What is needed of a process, as `subprocess.Popen` has it."""

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


class SandboxProcess:
    """Starts `python -m ops.sandbox` and knows its address. As a context manager, it starts and stops with the block.

    Args:
        directory: keeps the data, the announcement and `stderr.log`; the next start in it remembers.
        flags: more command line flags, e.g. `"--personality", "plus"`.
        port: 0 takes any free port at the first start, and keeps it at the next ones.
    """

    def __init__(self, directory: Path, *flags: str, port: int = 0) -> None:
        self.directory = directory
        self.flags = flags
        self.port = port
        self.url = ""
        self._process: Running | None = None

    def start(self, *more_flags: str) -> Self:
        """Start and wait until it accepts connections.

        Raises:
            RuntimeError: it ended, or said nothing in time; carries what it printed.
        """
        announced = self.directory / "url"
        announced.unlink(missing_ok=True)
        places = ["--announce-file", str(announced), "--data-dir", str(self.directory / "data")]
        self._process = self.launch(["--port", str(self.port), *places, *self.flags, *more_flags])
        deadline = time.monotonic() + START_SECONDS
        while not announced.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the sandbox did not start: {self.printed()}")
            time.sleep(_PAUSE_SECONDS)
        self.url = announced.read_text(encoding="utf-8")
        self.port = int(self.url.rpartition(":")[2])
        return self

    def launch(self, arguments: Sequence[str]) -> Running:
        """Start the process, with its stderr in `log`."""
        with self.log.open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", "ops.sandbox", *arguments], stderr=log)  # noqa: S603 - our own

    @property
    def log(self) -> Path:
        return self.directory / "stderr.log"

    def printed(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> int:
        """Ask it to leave, as a person would; return its exit code."""
        process = self._running()
        process.terminate()
        return process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """End it at once, with SIGKILL."""
        process = self._running()
        process.kill()
        process.wait(STOP_SECONDS)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _running(self) -> Running:
        if self._process is None:
            raise RuntimeError("the sandbox was not started")
        return self._process

"""The embedded server: a real Valkey (or Redis) of our own, on a Unix socket in the data folder."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from jobs.errors import DataDirInUse, StackError
from jobs.settings import Settings
from ops.logs import fresh_log, last_lines
from ops.notes import note
from ops.ownership import Ownership, holder
from ops.server_program import ALLOCATOR, CONFIG, find_binary

START_SECONDS = 30.0
STOP_SECONDS = 10.0
# So long a command that ends its server waits for others that joined it.
GUESTS_SECONDS = 30.0
POLL_SECONDS = 0.01
LOADING = b"-LOADING"
# It takes half a minute where there were a million jobs: a person wants to know what is waited for.
TELL_AFTER_SECONDS = 2.0


class EmbeddedServer:
    """Started on `start`, stopped on `stop`; `with` does both.

    Args:
        settings: `data_dir` and the socket's place in it.
        owner: holds the data folder.
        program: the server's; None for that of `find_binary`.
    """

    def __init__(self, settings: Settings, owner: Ownership, program: Path | None = None) -> None:
        self._socket = settings.socket_path()
        self._folder = settings.data_dir.absolute() / "redis"
        self.log = settings.data_dir.absolute() / "logs" / "redis.log"
        self._owner = owner
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it, and wait until it answers; as long as it takes while it reads its log.

        Raises:
            StackError: it did not start; carries the last lines of its log.
        """
        binary = self._program or find_binary()
        if self._socket.parent != self._folder.parent:
            _private_folder(self._socket.parent)  # a stand-in, in a place that all users share
        for folder in (self._folder, self.log.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The owner is alone here, so a socket that is there belongs to nobody.
        self._socket.unlink(missing_ok=True)
        fresh_log(self.log)
        with self.log.open("ab") as log:
            command = [str(binary), str(CONFIG), *self._overrides()]
            self._process = self._owner.servers.spawn(command, output=log, env=ALLOCATOR | os.environ)
        if not wait_for(self._socket, START_SECONDS, lambda: self.alive):
            self.stop()
            raise StackError(f"the embedded server did not start ({self.log}): {last_lines(self.log)}")

    def _overrides(self) -> list[str]:
        """What differs from the container's: no TCP at all, and this user's folder."""
        return [
            *("--port", "0"),
            *("--unixsocket", str(self._socket)),
            *("--unixsocketperm", "700"),
            *("--dir", str(self._folder)),
        ]

    def stop(self) -> None:
        """Let it write what is left and leave; after a deadline it is ended by force, and loses nothing either."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._socket.unlink(missing_ok=True)


@contextmanager
def joined_or_started(settings: Settings) -> Iterator[None]:
    """A server for a short command: the one that runs on this data folder, else one of its own for the while.

    Raises:
        StackError: there is none, and none could be started.
    """
    with ExitStack() as stack:
        if settings.redis_url is None:
            _join_or_start(settings, stack)
        yield


def _join_or_start(settings: Settings, stack: ExitStack) -> None:
    path, loading = settings.socket_path(), _Loading()
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found = holder(settings.data_dir)
        if found is None or not found.alive:
            try:
                owner = stack.enter_context(Ownership(settings.data_dir, brief=True))
            except DataDirInUse:
                continue  # somebody was faster, and stays: join
            stack.enter_context(hosting(settings, owner, GUESTS_SECONDS))
            return
        with ExitStack() as guest:
            guest.enter_context(_as_guest(settings.data_dir))
            if answers(path):
                stack.push(guest.pop_all())
                return
        if loading.told_by(_ping(path)):
            deadline = time.monotonic() + START_SECONDS
        time.sleep(POLL_SECONDS)
    raise StackError(f"the server of {settings.data_dir} does not answer; look into {settings.data_dir / 'logs'}")


@contextmanager
def hosting(settings: Settings, owner: Ownership, patience_seconds: float) -> Iterator[EmbeddedServer]:
    """A server that others may join. On leaving they are waited for, but not longer than `patience_seconds`."""
    with (owner.data_dir / "guests").open("ab") as guests, EmbeddedServer(settings, owner) as server:
        yield server
        _until(lambda: _lock_alone(guests.fileno()), patience_seconds)


@contextmanager
def _as_guest(data_dir: Path) -> Iterator[None]:
    """While this lasts, a command that is about to end its server waits."""
    with (data_dir / "guests").open("ab") as guests:
        fcntl.flock(guests, fcntl.LOCK_SH)
        yield


def _lock_alone(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def answers(path: Path) -> bool:
    """Whether a server answers at this socket, and has loaded its data."""
    return _ping(path).startswith(b"+PONG")


def wait_for(path: Path, seconds: float, alive: Callable[[], bool] = lambda: True) -> bool:
    """Wait until a server answers at this socket.

    Args:
        path: of the socket.
        seconds: without a word. While it says that it reads its log, which takes long where there are many jobs, it is
            waited for.
        alive: whether there is still anybody to wait for.

    Returns:
        whether it answers.
    """
    loading = _Loading()
    deadline = time.monotonic() + seconds
    while alive() and time.monotonic() < deadline:
        said = _ping(path)
        if said.startswith(b"+PONG"):
            return True
        if loading.told_by(said):
            deadline = time.monotonic() + seconds
        time.sleep(POLL_SECONDS)
    return False


class _Loading:
    """Whether a server is reading its log; and a word about it to whoever waits."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._told = False

    def told_by(self, answer: bytes) -> bool:
        if not answer.startswith(LOADING):
            return False
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if not self._told and now - self._since >= TELL_AFTER_SECONDS:
            self._told = True
            note("waiting for Redis, which reads the records of all jobs from the disk")
        return True


def _ping(path: Path) -> bytes:
    """What a server says to a PING; nothing where there is none."""
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(1.0)
            link.connect(str(path))
            link.sendall(b"PING\r\n")
            return link.recv(64)
    except OSError:
        return b""


def _private_folder(folder: Path) -> None:
    """A folder that nobody else can enter. In a shared place somebody may have made it before us."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise StackError(f"{folder} belongs to somebody else; choose a shorter --data-dir")
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True

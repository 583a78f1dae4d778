"""A data folder has one owner at a time: the command that runs a server on it.

The lock is held by the owner and, through inherited descriptors, by everything it has started. So the folder is free
only when the last of them is gone: two servers can never write the same log, whatever was killed in between.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from jobs.errors import DataDirInUse, UsageError
from ops.reaper import GRACE_SECONDS, Reaper, end_group

# A command that leaves by itself soon is waited for, and so is the end of what a killed one has left behind.
WAIT_SECONDS = 30.0
# So long the dead owner's helpers have for it, one after the other; only then we do it: they were killed too.
HELPER_SECONDS = 2 * GRACE_SECONDS + 2.0
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Holder:
    """Who holds a data folder: a process, the groups of all that it started, and whether it leaves by itself soon."""

    pid: int
    groups: Sequence[int]
    command: str
    brief: bool

    @property
    def alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


class Ownership:
    """Holds a data folder, and ends everything that was started through its reapers on leaving.

    `servers` is for what the others talk to: it goes last, however this process ends. So a worker whose command was
    killed still finishes what is on the wire, and has where to write down what came of it.

    Args:
        data_dir: made when it is not there.
        brief: whether others should wait for this one rather than complain.

    Raises:
        DataDirInUse: somebody else holds it; names that process.
        UsageError: the folder cannot be made or written.
    """

    def __init__(self, data_dir: Path, *, brief: bool = False) -> None:
        self.data_dir = data_dir
        self._lock = _open(data_dir)
        try:
            _wait_for(self._lock, data_dir)
            os.ftruncate(self._lock, 0)  # from here on the last owner's name would be a lie
            self.servers = Reaper(inherit=[self._lock])
            self.reaper = Reaper(inherit=[self._lock, self.servers.pipe])
            command = " ".join(["blendq", *sys.argv[1:]])
            _write(self._lock, Holder(os.getpid(), [self.reaper.group, self.servers.group], command, brief))
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """End whatever is left, and let the folder go."""
        if self._lock < 0:
            return
        os.ftruncate(self._lock, 0)
        self.end_all()
        os.close(self._lock)
        self._lock = -1

    def end_all(self) -> None:
        """End whatever is left at once."""
        self.reaper.close()
        self.servers.close()


def holder(data_dir: Path) -> Holder | None:
    """Who holds the folder now; None when nobody does, or when nobody can tell yet."""
    try:
        lock = os.open(data_dir / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return None if _try(lock) else _read(lock)
    finally:
        os.close(lock)


@contextmanager
def data_dir_errors(data_dir: Path) -> Iterator[None]:
    """Tell an OSError inside this block as what it is: a folder that cannot be used (UsageError)."""
    try:
        yield
    except OSError as error:
        why = "a file is in its way" if isinstance(error, FileExistsError) else error.strerror
        raise UsageError(f"data folder {data_dir}: {why}; choose another with --data-dir or BLENDQ_DATA_DIR") from error


def make_data_dir(data_dir: Path) -> None:
    """Make it, for this user alone, with the folders above it. One that is there is left as it is.

    Raises:
        UsageError: it cannot be made.
    """
    with data_dir_errors(data_dir):
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        data_dir.mkdir(mode=0o700, exist_ok=True)


def _open(data_dir: Path) -> int:
    make_data_dir(data_dir)
    with data_dir_errors(data_dir):
        return os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _wait_for(lock: int, data_dir: Path) -> None:
    """Take the lock. A living owner is respected; what a dead one left behind is ended."""
    began = time.monotonic()
    asked: Holder | None = None
    while not _try(lock):
        waited = time.monotonic() - began
        found = _read(lock)
        if found and found.alive and not (found.brief and waited < WAIT_SECONDS):
            raise DataDirInUse(
                f"data folder {data_dir} is in use by process {found.pid} ({found.command}); "
                "wait for it, stop it, or choose another with --data-dir"
            )
        if waited > WAIT_SECONDS:
            raise DataDirInUse(f"data folder {data_dir} is held by something that does not end; {_advice(found)}")
        if found and not found.alive and found != asked and waited > HELPER_SECONDS:
            # Whoever holds the lock is one of the dead owner's groups, so their numbers are still theirs.
            for group in found.groups:
                end_group(group)
            asked = found
        time.sleep(POLL_SECONDS)


def _advice(found: Holder | None) -> str:
    groups = f"end the processes of groups {' and '.join(map(str, found.groups))}, or " if found else ""
    return f"{groups}choose another with --data-dir"


def _try(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(lock: int, found: Holder) -> None:
    text = json.dumps(asdict(found)).encode()
    os.pwrite(lock, text, 0)
    os.ftruncate(lock, len(text))


def _read(lock: int) -> Holder | None:
    """What the holder wrote; None while it is still starting."""
    try:
        return Holder(**json.loads(os.pread(lock, 65536, 0)))
    except (ValueError, TypeError):
        return None

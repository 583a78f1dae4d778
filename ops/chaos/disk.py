"""Disk: a small file system of its own, which can be full, really."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

SIZE_BYTES = 1 << 30
TRIES = 100  # it may grow between measuring and shrinking


class SmallDisk:
    """A file system in memory (tmpfs), mounted at a folder until it is closed.

    Args:
        folder: that is empty.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def mounted(cls, folder: Path) -> Self | None:
        """None where this user may not mount anything."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(folder) if _mount("-t", "tmpfs", "-o", f"size={SIZE_BYTES},mode=700", "tmpfs", str(folder)) else None

    @contextmanager
    def full(self) -> Iterator[None]:
        """While this lasts, not a byte more fits on it.

        Raises:
            OSError: it could not be made so small.
        """
        if not any(self._resize(self._used_bytes()) for _ in range(TRIES)):
            raise OSError(f"the disk at {self._folder} could not be filled")
        try:
            yield
        finally:
            self._resize(SIZE_BYTES)

    def _used_bytes(self) -> int:
        found = os.statvfs(self._folder)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self._folder)], check=True)  # noqa: S603, S607

    def _resize(self, size_bytes: int) -> bool:
        return _mount("-o", f"remount,size={size_bytes}", str(self._folder))


@contextmanager
def limited_files(pids: Sequence[int | None]) -> Iterator[None]:
    """Where there is no disk to fill: no file of these processes may grow any more, and sockets still work.

    A Python program sees an error as on a full disk; others are ended.
    """
    for pid in pids:
        _limit(pid, 0)
    try:
        yield
    finally:
        for pid in pids:
            _limit(pid, resource.RLIM_INFINITY)


def _limit(pid: int | None, size_bytes: int) -> None:
    if pid is not None and hasattr(resource, "prlimit"):
        with suppress(ProcessLookupError, PermissionError, ValueError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


def _mount(*arguments: str) -> bool:
    try:
        return subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode == 0  # noqa: S603, S607
    except FileNotFoundError:
        return False

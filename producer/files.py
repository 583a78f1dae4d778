"""Files in the folder of results: names that are safe everywhere, and content that appears in one step."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

MAX_NAME_BYTES = 200
PART = ".part"
# Room for what is added to a name: a number when two collide, the type, ".part".
_MAX_STEM_BYTES = MAX_NAME_BYTES - 20
_COPY_BYTES = 1 << 20
_FORBIDDEN = frozenset('/\\:*?"<>|')
# Devices, on Windows, whatever the extension.
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in "123456789¹²³")}
)


def safe_stem(text: str) -> str:
    """A file name without extension, from any text: for every system, and harmless in every folder.

    >>> safe_stem("../etc/passwd"), safe_stem("con"), safe_stem("Zürich 1")
    ('_._etc_passwd', '_con', 'Zürich 1')
    """
    text = unicodedata.normalize("NFC", text)
    # Of the categories: C is control, direction marks, unassigned; Zl and Zp break lines.
    kept = "".join(
        "_" if c in _FORBIDDEN or unicodedata.category(c)[0] == "C" or c in "\u2028\u2029" else c for c in text
    )
    kept = kept.encode()[:_MAX_STEM_BYTES].decode(errors="ignore").strip().rstrip(".")
    if kept.startswith("."):
        kept = "_" + kept[1:]
    if kept.partition(".")[0].strip().lower() in _RESERVED:
        kept = "_" + kept
    return kept or "_"


class Names:
    """Gives every job of an export a name of its own, the same ones each time for the same rows in the same order."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}
        # Of each name that several want: how far its numbers are given, and which each of them has. A hundred thousand
        # may want one: the names of pictures that begin alike are cut where they are too long.
        self._last: dict[str, int] = {}
        self._numbers: dict[tuple[str, str], int] = {}

    def claim(self, wanted: str, owner: str) -> str:
        """The name for `owner`: as wanted, or with a number when another owner has that already."""
        stem = safe_stem(wanted)
        shared = compared(stem)
        if self._has(stem, owner):
            return stem
        number = self._numbers.get((shared, owner)) or self._next(stem, owner)
        self._numbers[shared, owner] = number
        return f"{stem}-{number}"

    def _next(self, stem: str, owner: str) -> int:
        shared = compared(stem)
        number = self._last.get(shared, 1) + 1
        while not self._has(f"{stem}-{number}", owner):
            number += 1
        self._last[shared] = number
        return number

    def _has(self, name: str, owner: str) -> bool:
        """From now on, if nobody had it."""
        return self._owners.setdefault(compared(name), owner) == owner


def compared(name: str) -> str:
    """Some file systems take two names for one when only case or composition differs."""
    return unicodedata.normalize("NFKD", name).casefold()


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """One at a time writes results into a folder; who comes second waits. Each would take the other's `.part` files."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file that appears under its name only when it is whole and on the disk."""
    part = path.with_name(path.name + PART)
    try:
        part.unlink(missing_ok=True)  # of a run that was killed; or a link that leads elsewhere
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def place_copy(source: Path, target: Path, digest: str) -> bool:
    """Make `target` a copy of a stored picture; an identical file is not touched.

    A copy, not a hard link: a program that edits the result in place must not change the store's picture with it.
    Not synced to the disk: after a power cut the next export finds the difference and copies again.

    Returns:
        Whether anything was written.
    """
    original = source.stat()
    if _is_same(target, original, digest):
        return False
    part = target.with_name(target.name + PART)
    part.unlink(missing_ok=True)
    with source.open("rb", buffering=0) as reader, part.open("xb", buffering=0) as writer:
        _copy(reader, writer, original.st_size)
    os.utime(part, ns=(original.st_atime_ns, original.st_mtime_ns))
    part.replace(target)
    return True


def place_bytes(data: bytes, target: Path, source: Path) -> bool:
    """Make `target` hold what was made from a stored picture, with that one's time; an identical file is not touched.

    Returns:
        Whether anything was written.
    """
    original = source.stat()
    with suppress(FileNotFoundError):
        found = target.lstat()
        if stat.S_ISREG(found.st_mode) and (found.st_size, found.st_mtime_ns) == (len(data), original.st_mtime_ns):
            return False
    part = target.with_name(target.name + PART)
    part.unlink(missing_ok=True)
    with part.open("xb") as file:
        file.write(data)
    os.utime(part, ns=(original.st_atime_ns, original.st_mtime_ns))
    part.replace(target)
    return True


def _is_same(target: Path, original: os.stat_result, digest: str) -> bool:
    """By size and time, as rsync does, since a copy of ours has the time of its original; else by content."""
    try:
        found = target.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode) or found.st_size != original.st_size:
        return False
    if found.st_mtime_ns == original.st_mtime_ns:
        return True
    with target.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == digest


def _copy(reader: FileIO, writer: FileIO, size: int) -> None:
    """Where the file system can, by sharing the blocks until one side changes: no time, and no room on the disk."""
    left = size
    if hasattr(os, "copy_file_range"):
        try:
            while left and (copied := os.copy_file_range(reader.fileno(), writer.fileno(), left)):
                left -= copied
        except OSError:  # not between these two file systems; both stand where it stopped
            pass
    while chunk := reader.read(_COPY_BYTES):
        writer.write(chunk)

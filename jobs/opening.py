"""Opening a file that somebody named: never waits for it, and stays in the folder that it must not leave."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from jobs.errors import PictureError

_NO_WAIT = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class OutsideFolder(Exception):
    """A file is not in the folder that it must be in, wherever it was named. Not an error of its own: callers tell."""


def read_regular_file(path: Path, max_bytes: int, root: Path | None = None) -> bytes:
    """At most `max_bytes` + 1 of a file. Never waits: opening a pipe would, until somebody writes to it.

    Args:
        path: the file.
        max_bytes: one more than that is read, so that the caller sees the excess.
        root: the folder that the file must be in, however links lead to it; None for anywhere.

    Raises:
        PictureError: it cannot be read, or is not in the root. Its text then shows no place outside of the root.
    """
    name = name_of(path, root)
    try:
        with open(path, "rb", opener=lambda *_: open_within(path, root)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise PictureError(f"{name}: is not a regular file; give a picture file")
            return file.read(min(status.st_size, max_bytes) + 1)
    except OutsideFolder as error:
        raise PictureError(f"{name}: is outside the folder that pictures may come from") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PictureError(f"{name}: no such file; check the name") from error
    except IsADirectoryError as error:
        raise PictureError(f"{name}: is a folder; give a picture file") from error
    except PermissionError as error:
        raise PictureError(f"{name}: may not be read; allow this user to read it") from error
    except OSError as error:
        raise PictureError(f"{name}: cannot be read ({error.strerror}); check the file") from error
    except ValueError as error:  # a zero byte, or a character that no file system takes
        raise PictureError(f"{name!r}: is not a possible file name; check the name") from error


def name_of(path: Path, root: Path | None) -> str:
    """The file as people are told of it: with a root, nothing is said of where that is."""
    if root is None:
        return str(path)
    seen = os.path.relpath(path, root)
    return path.name if os.pardir in Path(seen).parts else seen


def open_within(path: Path, root: Path | None) -> int:
    """Open a file for reading, without waiting for it.

    With a root, links are followed first; then the place that they lead to is opened step by step, following none. So a
    link that is put there in between is met as a link, and refused.

    Raises:
        OutsideFolder: it is not in the root.
        OSError: it cannot be opened.
        ValueError: no file can have this name.
    """
    if root is None:
        return os.open(path, _NO_WAIT)
    real_root = os.path.realpath(root)
    steps = Path(os.path.relpath(os.path.realpath(path), real_root)).parts
    if os.pardir in steps:
        raise OutsideFolder(path)
    here = os.open(real_root, _FOLDER)
    for number, step in enumerate(steps, 1):
        try:
            there = os.open(step, (_NO_WAIT if number == len(steps) else _FOLDER) | os.O_NOFOLLOW, dir_fd=here)
        finally:
            os.close(here)
        here = there
    return here

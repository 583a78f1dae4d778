"""Small files that several processes may make at once, and folders that are there after a power cut."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from jobs.errors import SettingsError


def create_once(path: Path, text: str) -> str:
    """Write a private file, durably and whole, unless a faster process did.

    Returns:
        what is in the file: `text`, or what the faster one wrote.
    """
    make_folder(path.parent)
    fresh = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(fresh, path)  # unlike a rename, this never replaces what a faster process has written
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    sync_folder(path.parent)
    return path.read_text(encoding="utf-8")


def kept(path: Path, make: Callable[[], str]) -> str:
    """What is in a private file, made by whichever process needs it first.

    Raises:
        SettingsError: there is nothing in it. It is mostly a secret, and anybody could sign with an empty one.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else create_once(path, make())
    if not text:
        raise SettingsError(f"{path} is empty; restore it from a backup, or remove it, and another is made")
    return text


def make_folder(folder: Path) -> None:
    """Make it and its parents, each entered durably."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """What was put into it, or renamed in it, is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

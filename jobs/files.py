"""Small files that several processes may make at once, and folders that are there after a power cut."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path


def create_once(path: Path, text: str) -> str:
    """Write a private file, durably and whole, unless a faster process did.

    Returns:
        what is in the file: `text`, or what the faster one wrote.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
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
    return path.read_text(encoding="utf-8")


def kept(path: Path, make: Callable[[], str]) -> str:
    """What is in a private file, made by whichever process needs it first."""
    return path.read_text(encoding="utf-8") if path.exists() else create_once(path, make())


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

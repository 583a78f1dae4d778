"""Quarters: the four pictures of a blend's 2×2 grid, each as a file of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from jobs.pictures.picture_formats import opened
from producer.files import PART

QUALITY = 95


def place_quarters(source: Path, targets: Sequence[Path]) -> bool:
    """Write the quarters of a stored picture: upper left, upper right, lower left, lower right.

    Each has the time of its original; where all have it already, nothing is done.

    Args:
        source: the picture.
        targets: four files, of its own type.

    Returns:
        whether it has quarters: a picture that is one pixel wide or high has none.

    Raises:
        OSError: one cannot be written.
    """
    original = source.stat()
    if all(_time_of(target) == original.st_mtime_ns for target in targets):
        return True
    with opened(source) as picture:
        picture.load()
        width, height = picture.width // 2, picture.height // 2
        if not (width and height):
            return False
        for index, target in enumerate(targets):
            left, top = (index % 2) * width, (index // 2) * height
            part = target.with_name(target.name + PART)
            part.unlink(missing_ok=True)
            picture.crop((left, top, left + width, top + height)).save(part, picture.format, quality=QUALITY)
            os.utime(part, ns=(original.st_atime_ns, original.st_mtime_ns))
            part.replace(target)
    return True


def _time_of(path: Path) -> int | None:
    try:
        return path.lstat().st_mtime_ns
    except FileNotFoundError:
        return None

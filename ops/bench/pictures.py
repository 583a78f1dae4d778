"""Input pictures of a given size: real PNGs of noise, which nothing can make smaller on the way."""

from __future__ import annotations

import random
from itertools import islice, permutations
from pathlib import Path

from PIL import Image

# A pixel of noise is three bytes that do not compress.
_BYTES_A_PIXEL = 3


def draw(folder: Path, count: int, size_bytes: int) -> list[Path]:
    """That many different pictures of about that size."""
    folder.mkdir(parents=True, exist_ok=True)
    side = max(1, int((size_bytes / _BYTES_A_PIXEL) ** 0.5))
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        noise = random.Random(number).randbytes(side * side * _BYTES_A_PIXEL)  # noqa: S311  (the same every time)
        Image.frombytes("RGB", (side, side), noise).save(path, compress_level=1)
    return paths


def blends(pictures: list[Path], a_blend: int, count: int) -> list[tuple[Path, ...]]:
    """That many different blends of so many pictures each.

    Raises:
        ValueError: the pictures do not make so many.
    """
    made = list(islice(permutations(pictures, a_blend), count))
    if len(made) < count:
        raise ValueError(f"{len(pictures)} pictures make {len(made)} blends of {a_blend}, not {count}")
    return made

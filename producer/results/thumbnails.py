"""Thumbnails: small WebP copies of stored pictures, so that a page with a thousand of them opens at once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import compress
from pathlib import Path
from types import TracebackType
from typing import Self

from PIL import Image

from jobs.pictures.images import ImageStore, StoredImage
from producer.files import PART
from producer.smaller import upright

# Twice what the page shows, for fine screens.
BLEND_PIXELS = 640
SOURCE_PIXELS = 144
QUALITY = 80
# Decoding takes about ten bytes a pixel, in each thread at once. Larger ones go without.
MAX_PIXELS = 80_000_000
MAX_THREADS = 4


class Thumbnails:
    """Thumbnails in a folder, named by the digest of the picture and their size: one that exists is right.

    Args:
        folder: where they are; made when the first one is.
        images: the pictures.
    """

    def __init__(self, folder: Path, images: ImageStore) -> None:
        self._folder = folder
        self._images = images
        self._pool = ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1), "thumbnails")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)

    def make(self, wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
        """Make those that are not there yet.

        Args:
            wanted: digests, each with the longest side in pixels.

        Returns:
            The file name of each; without those whose picture is gone or cannot be decoded.
        """
        names = {key: _name(*key) for key in wanted}
        missing = {key for key, name in names.items() if not self._is_there(name)}
        sources = {key: stored for key in missing if (stored := self._images.find(key[0]))}
        done = self._pool.map(lambda key: self._make(sources[key], key[1], names[key]), sources)
        made = set(compress(sources, done))
        return {key: name for key, name in names.items() if key not in missing or key in made}

    def _is_there(self, name: str) -> bool:
        return os.path.exists(f"{self._folder}/{name}")  # noqa: PTH110  (a Path takes five times as long)

    def _make(self, stored: StoredImage, pixels: int, name: str) -> bool:
        """Whether it could be made."""
        if stored.width * stored.height > MAX_PIXELS:
            return False
        try:
            with Image.open(stored.path) as picture:
                small = upright(picture, pixels)
        except Exception:  # noqa: BLE001  (decoders meet odd bytes with any exception; the card does without)
            return False
        self._folder.mkdir(exist_ok=True)
        part = self._folder / (name + PART)
        part.unlink(missing_ok=True)  # a link that leads elsewhere, as in `producer.files`
        small.save(part, "WEBP", quality=QUALITY, method=2)
        part.replace(self._folder / name)
        return True


def _name(digest: str, pixels: int) -> str:
    return f"{digest.removeprefix('sha256:')[:40]}-{pixels}.webp"

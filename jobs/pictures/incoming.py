"""IncomingImage: a picture on its way into the store, in pieces, within its limit."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.errors import PictureError


@dataclass(frozen=True)
class StoredImage:
    """A picture in the store. `digest` is "sha256:<hex>", `width` and `height` are in pixels."""

    digest: str
    path: Path
    media_type: str
    width: int
    height: int
    bytes: int


# The stored picture of this digest and size, if there is one; and what stores it: file, digest, size, name for errors.
Known = Callable[[str, int], StoredImage | None]
Place = Callable[[io.FileIO, str, int, str], StoredImage]


class IncomingImage:
    """A picture that arrives in pieces. Made by `ImageStore.incoming`.

    `moved`: its file has its final name.
    """

    def __init__(self, file: io.FileIO, *, name: str, max_bytes: int, known: Known, place: Place) -> None:
        self.moved = False
        self._file = file
        self._name = name
        self._max_bytes = max_bytes
        self._known = known
        self._place = place
        self._hash = hashlib.sha256()
        self._size = 0
        self._kept: StoredImage | None = None

    def write(self, chunk: bytes) -> None:
        """Add the next bytes.

        Raises:
            PictureError: the picture is over the byte limit; nothing of this chunk was written.
        """
        if self._kept is not None:
            raise ValueError("the picture is already kept")
        self._size += len(chunk)
        check_size(self._size, self._max_bytes, self._name)
        self._hash.update(chunk)
        rest = memoryview(chunk)
        while rest:
            rest = rest[self._file.write(rest) :]

    def keep(self) -> StoredImage:
        """Check the whole picture by decoding it, and add it to the store. When it returns, the disk has it.

        Raises:
            PictureError: empty, broken, over a limit, or of a kind that the API does not take.
        """
        if self._kept is None:
            if not self._size:
                raise PictureError(f"{self._name}: is empty; give a PNG, JPEG, WebP or GIF picture")
            digest = f"sha256:{self._hash.hexdigest()}"
            if known := self._known(digest, self._size):
                self._kept = known
            else:
                self._kept = self._place(self._file, digest, self._size, self._name)
                self.moved = True
        return self._kept


def check_size(size: int, max_bytes: int, name: str) -> None:
    """Raises PictureError when that is over the limit."""
    if size > max_bytes:
        raise PictureError(
            f"{name}: is over the limit of {max_bytes:,} bytes; make it smaller, or raise BLENDQ_MAX_IMAGE_BYTES"
        )

"""ImageStore: every picture once, by the digest of its content.

`ROOT/ab/abcdef…` holds the picture whose SHA-256 is abcdef…. A file appears there in one step, after it was
decoded and is on the disk; so its presence proves that it was checked. Any number of threads and processes may use
the same store: the same content put twice at once is the same file either way.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pybase64

from jobs.errors import PictureError, PictureMissing
from jobs.opening import name_of, read_regular_file
from jobs.pictures.picture_formats import Header, check_picture, read_header
from jobs.request import is_digest

Check = Callable[[BinaryIO, int, str], Header]
STALE_SECONDS = 86_400.0
_MAX_DATA_URL_HEADER = 200


@dataclass(frozen=True)
class StoredImage:
    """A picture in the store. `digest` is "sha256:<hex>", `width` and `height` are in pixels."""

    digest: str
    path: Path
    media_type: str
    width: int
    height: int
    bytes: int


class IncomingImage:
    """A picture that arrives in pieces. Made by `ImageStore.incoming`."""

    def __init__(
        self, file: BinaryIO, *, name: str, max_bytes: int, place: Callable[[BinaryIO, str, str], StoredImage]
    ) -> None:
        self._file = file
        self._name = name
        self._max_bytes = max_bytes
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
        _check_size(self._size, self._max_bytes, self._name)
        self._hash.update(chunk)
        self._file.write(chunk)

    def keep(self) -> StoredImage:
        """Check the whole picture by decoding it, and add it to the store. When it returns, the disk has it.

        Raises:
            PictureError: empty, broken, over a limit, or of a kind that the API does not take.
        """
        if self._kept is None:
            if not self._size:
                raise PictureError(f"{self._name}: is empty; give a PNG, JPEG, WebP or GIF picture")
            self._file.flush()
            self._kept = self._place(self._file, f"sha256:{self._hash.hexdigest()}", self._name)
        return self._kept


class ImageStore:
    """Pictures in a folder, by digest.

    Args:
        root: the folder; made when it is first needed.
        max_bytes: the largest file that is taken.
        max_pixels: the most pixels (width times height) that a picture may have.
        check: decodes a picture, given its file, the most pixels and its name. By default in this process, which is
            for files of people who would only harm themselves, and costs no process more; whatever takes pictures
            from outside gives that of a `jobs.pictures.decoding.Decoder`.

    A method that raises OSError had trouble with the store's own disk, not with the picture.
    """

    def __init__(self, root: Path, *, max_bytes: int, max_pixels: int, check: Check = check_picture) -> None:
        self.root = root.absolute()
        self.max_bytes = max_bytes
        self.max_pixels = max_pixels
        self._check = check
        self._tmp = self.root / "tmp"
        self.clean()

    def with_limit(self, max_bytes: int) -> ImageStore:
        """The same store, which takes files of this size."""
        return ImageStore(self.root, max_bytes=max_bytes, max_pixels=self.max_pixels, check=self._check)

    def put_file(self, path: Path, *, root: Path | None = None) -> StoredImage:
        """Store the picture in a file, as it is at this moment: it is read once.

        Args:
            path: the file.
            root: the folder that it must be in, links followed; None for anywhere.

        Raises:
            PictureError: says what is wrong with the file, and what to do.
        """
        return self.put_bytes(read_regular_file(path, self.max_bytes, root), name=name_of(path, root))

    def put_bytes(self, data: bytes, *, name: str) -> StoredImage:
        """Store a picture. `name` stands for it in errors.

        Raises:
            PictureError: says what is wrong with the picture, and what to do.
        """
        _check_size(len(data), self.max_bytes, name)
        if known := self._find_durable(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data)):
            return known
        with self.incoming(name=name) as incoming:
            incoming.write(data)
            return incoming.keep()

    def put_data_url(self, url: str, *, name: str) -> StoredImage:
        """Store the picture in a `data:…;base64,…` URL. Its real type counts, not the declared one.

        Raises:
            PictureError: not such a URL, not strict base64, or a wrong picture. Never shows the data.
        """
        header, comma, _ = url[:_MAX_DATA_URL_HEADER].partition(",")
        if not comma or not header.lower().startswith("data:") or not header.lower().endswith(";base64"):
            raise PictureError(f"{name}: is not a data URL; it must look like data:image/png;base64,…")
        encoded = len(url) - len(header) - 1
        # At most two bytes of the last group are padding; so this never refuses a picture that would fit.
        _check_size(encoded // 4 * 3 - 2, self.max_bytes, name)
        try:
            data = pybase64.b64decode(url[len(header) + 1 :], validate=True)
        except ValueError:  # its text would be no help, and might quote the data
            raise PictureError(f"{name}: its base64 is broken; encode the file again, without line breaks") from None
        return self.put_bytes(data, name=name)

    @contextmanager
    def incoming(self, *, name: str = "the picture", check: Check | None = None) -> Iterator[IncomingImage]:
        """Take a picture in pieces. What was not kept when the block ends is deleted.

        Args:
            name: stands for it in errors.
            check: instead of the store's own.
        """
        place = partial(self._place, check or self._check)
        _make_folder(self._tmp)
        temp = self._tmp / uuid.uuid4().hex
        with temp.open("x+b") as file:
            try:
                yield IncomingImage(file, name=name, max_bytes=self.max_bytes, place=place)
            finally:
                temp.unlink(missing_ok=True)

    def find(self, digest: str) -> StoredImage | None:
        """The stored picture, by its header alone; None when there is none, or it is no longer a picture."""
        path = self._path(digest)
        if path is None:
            return None
        try:
            with path.open("rb") as file:
                header = read_header(file, digest)
                return StoredImage(digest, path, *header, bytes=os.fstat(file.fileno()).st_size)
        except (FileNotFoundError, PictureError):
            return None

    def open(self, digest: str) -> BinaryIO:
        """The picture's bytes, to be closed by the caller.

        Raises:
            PictureMissing: the store has no such picture.
        """
        path = self._path(digest)
        try:
            if path is not None:
                return path.open("rb")
        except FileNotFoundError:
            pass
        raise PictureMissing(f"picture {digest[:80]} is not in {self.root}; put it there again, then retry the job")

    def remove(self, digest: str) -> bool:
        """Forget a picture that nobody needs any more; returns whether it was there."""
        path = self._path(digest)
        if path is None or not path.exists():
            return False
        path.unlink(missing_ok=True)
        return True

    def clean(self, *, older_than_seconds: float = STALE_SECONDS) -> None:
        """Remove what processes that were killed have left half-written. Done at every start too."""
        limit = time.time() - older_than_seconds
        for temp in self._tmp.glob("*"):
            try:
                if temp.stat().st_mtime < limit:
                    temp.unlink()
            except FileNotFoundError:  # another process cleans as well
                continue

    def _path(self, digest: str) -> Path | None:
        if not is_digest(digest):
            return None
        name = digest.removeprefix("sha256:")
        return Path(f"{self.root}/{name[:2]}/{name}")

    def _find_durable(self, digest: str, size: int) -> StoredImage | None:
        """A picture that is whole, and is still there after a power cut.

        Another process may have renamed it just now and not synced the folder yet, and we are about to promise it.
        """
        known = self.find(digest)
        if known is None or known.bytes != size:
            return None
        self._sync(known.path.parent)
        return known

    def _place(self, check: Check, file: BinaryIO, digest: str, name: str) -> StoredImage:
        """Check the temporary file and give it its final name."""
        size = file.seek(0, os.SEEK_END)
        if known := self._find_durable(digest, size):
            return known
        header = check(file, self.max_pixels, name)
        os.fsync(file.fileno())
        path = self._path(digest)
        assert path is not None  # noqa: S101  (we made the digest)
        _make_folder(path.parent)
        Path(file.name).replace(path)
        self._sync(path.parent)
        return StoredImage(digest, path, *header, bytes=size)

    def _sync(self, folder: Path) -> None:
        _sync_folder(folder)
        _sync_folder(self.root)


def _check_size(size: int, max_bytes: int, name: str) -> None:
    if size > max_bytes:
        raise PictureError(
            f"{name}: is over the limit of {max_bytes:,} bytes; make it smaller, or raise BLENDQ_MAX_IMAGE_BYTES"
        )


def _make_folder(folder: Path) -> None:
    """Make it and its parents, each entered durably."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""ImageStore: every picture once, by the digest of its content.

`ROOT/ab/abcdef…` holds the picture whose SHA-256 is abcdef…. A file appears there in one step, after it was
decoded and is on the disk; so its presence proves that it was checked. Any number of threads and processes may use
the same store: the same content put twice at once is the same file either way.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pybase64

from jobs.errors import PictureError, PictureMissing
from jobs.files import make_folder, sync_folder
from jobs.opening import name_of, read_regular_file
from jobs.pictures.incoming import IncomingImage, StoredImage, check_size
from jobs.pictures.picture_formats import Header, check_picture, read_header
from jobs.request import is_digest

__all__ = ["Check", "ImageStore", "StoredImage"]

Check = Callable[[Path, int, str], Header]
STALE_SECONDS = 86_400.0
_MAX_DATA_URL_HEADER = 200
# Enough for what most pictures say of themselves.
_HEADER_BYTES = 8 << 10


class ImageStore:
    """Pictures in a folder, by digest.

    Args:
        root: the folder; made when it is first needed.
        max_bytes: the largest file that is taken.
        max_pixels: the most pixels (width times height) that a picture may have.
        check: decodes a picture, given where it is, the most pixels and its name. By default in this process, which is
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
        self._entered: set[str] = set()
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
        check_size(len(data), self.max_bytes, name)
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
        check_size(encoded // 4 * 3 - 2, self.max_bytes, name)
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
        with self._temporary() as file:
            incoming = IncomingImage(file, name=name, max_bytes=self.max_bytes, known=self._find_durable, place=place)
            try:
                yield incoming
            finally:
                if not incoming.moved:
                    Path(file.name).unlink(missing_ok=True)

    def _temporary(self) -> io.FileIO:
        """A new file. Without a buffer: pictures come in large pieces."""
        temp = self._tmp / f"{random.getrandbits(128):032x}"
        try:
            return temp.open("xb", buffering=0)
        except FileNotFoundError:
            make_folder(self._tmp)
            return temp.open("xb", buffering=0)

    def find(self, digest: str) -> StoredImage | None:
        """The stored picture, by its header alone; None when there is none, or it is no longer a picture."""
        found = self.read(digest, 0)
        return found and found[0]

    def read(self, digest: str, most_bytes: int) -> tuple[StoredImage, bytes | None] | None:
        """The stored picture as `find` has it, and its content unless that is longer: a small one is read at once."""
        path = self._path(digest)
        if path is None:
            return None
        most = max(most_bytes, _HEADER_BYTES)
        try:
            with path.open("rb", buffering=0) as raw:
                content = raw.read(most + 1)
                whole = len(content) <= most
                size = len(content) if whole else os.fstat(raw.fileno()).st_size
                with io.BytesIO(content) if whole else io.BufferedReader(raw) as file:
                    header = read_header(file, digest)
        except (FileNotFoundError, PictureError):
            return None
        return StoredImage(digest, path, *header, bytes=size), content if size <= most_bytes else None

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

    def _place(self, check: Check, file: io.FileIO, digest: str, size: int, name: str) -> StoredImage:
        """Check the temporary file and give it its final name."""
        temp, path = Path(file.name), self._path(digest)
        assert path is not None  # noqa: S101  (we made the digest)
        header = check(temp, self.max_pixels, name)
        os.fsync(file.fileno())
        try:
            temp.replace(path)
        except FileNotFoundError:  # the first in its folder
            make_folder(path.parent)
            temp.replace(path)
        self._sync(path.parent)
        return StoredImage(digest, path, *header, bytes=size)

    def _sync(self, folder: Path) -> None:
        """What was renamed is there after a power cut; so is the folder itself, which another process may have made."""
        sync_folder(folder)
        if folder.name not in self._entered:
            sync_folder(self.root)
            self._entered.add(folder.name)

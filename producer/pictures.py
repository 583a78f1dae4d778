"""Pictures: what rows name becomes what the image store holds, so that a request names its pictures by digest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from jobs.errors import PictureError, RowProblem
from jobs.net.download import DownloadError, Downloads
from jobs.opening import name_of
from jobs.pictures.images import ImageStore, StoredImage
from jobs.report import source_name
from jobs.request import is_address, is_data_url, is_digest, is_web_address
from producer.manifests.manifest import Row
from producer.smaller import ORIGINAL_MAX_BYTES, Fit, Smaller


class Pictures:
    """The pictures of any number of rows, read as often as one likes: a path is read once, whoever names it.

    So a whole run sees each file as it was then. Data URLs are not remembered: they are too large.

    Args:
        images: where they are kept.
        web: fetches those that are named by web addresses, from where the settings allow.
        root: the folder that every file must be in at the moment when it is read, links followed; None for anywhere.
        fit: what they are to be like when they are sent; None for as they are.
    """

    def __init__(self, images: ImageStore, web: Downloads, root: Path | None = None, fit: Fit | None = None) -> None:
        self.images = images
        self._smaller = Smaller(images, fit) if fit else None
        # What is to become smaller may be larger than what is sent.
        self._originals = images if fit is None else images.with_limit(max(ORIGINAL_MAX_BYTES, images.max_bytes))
        self._web = web
        self._root = root
        self._known: dict[str, str | PictureError] = {}
        self._there: set[str] = set()

    def prepare(self, rows: Iterable[Row | RowProblem]) -> Iterator[Row | RowProblem]:
        """Store the pictures of each row, and name them by digest. Problems in `rows` pass through, in their places.

        Raises:
            OSError: the image store's disk failed.
        """
        for row in rows:
            yield row if isinstance(row, RowProblem) else self.stored(row)

    def stored(self, row: Row) -> Row | RowProblem:
        """The row with its pictures named by digest; or what is wrong with them."""
        if self._there.issuperset(row.request.images):
            return row
        found = [self._store(image, number) for number, image in enumerate(row.request.images, 1)]
        digests = tuple(item for item in found if isinstance(item, str))
        if digests == row.request.images:
            return row
        if len(digests) == len(found):
            return row.with_images(digests)
        problems = dict.fromkeys(str(item) for item in found if isinstance(item, PictureError))
        return RowProblem(row.line, "; ".join(problems), row.unit, PictureError)

    def _store(self, image: str, number: int) -> str | PictureError:
        if known := self._known.get(image):
            return known
        try:
            if is_data_url(image):
                name = f"image {number}"
                return self._to_send(self._originals.put_data_url(image, name=name), name)
            self._known[image] = self._digest(image)
        except PictureError as error:
            if is_data_url(image):
                return error
            # Kept for every row of a long manifest: its traceback would keep the picture's bytes alive with it.
            self._known[image] = PictureError(str(error))
        return self._known[image]

    def _digest(self, image: str) -> str:
        if is_digest(image):
            if self.images.find(image) is None:
                raise PictureError(f"{image}: is not in the image store; store the picture first, or give its file")
            self._there.add(image)
            return image
        if is_web_address(image):
            return self._to_send(self._fetched(image), source_name(image))
        if is_address(image):
            raise PictureError(f"{source_name(image)[:200]}: is no http or https address; give one, or a file's name")
        return self._to_send(self._originals.put_file(Path(image), root=self._root), name_of(Path(image), self._root))

    def _to_send(self, stored: StoredImage, name: str) -> str:
        return (self._smaller.of(stored, name) if self._smaller else stored).digest

    def _fetched(self, link: str) -> StoredImage:
        try:
            return self._web.fetch(link, self._originals, lambda: None)
        except DownloadError as error:
            raise PictureError(f"{source_name(link)}: {error}") from error

"""Downloads: fetches finished pictures from wherever the API put them."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

import httpx

from jobs.errors import BlendqError, PictureError
from jobs.images import ImageStore, StoredImage

MAX_REDIRECTS = 3
READ_TIMEOUT_SECONDS = 10.0  # below the lease of a download
DEADLINE_SECONDS = 180.0
CHUNK_BYTES = 1 << 16
# What servers answer to a link that has expired.
EXPIRED = frozenset({401, 403, 404, 410})


class DownloadError(BlendqError):
    """The picture did not come this time."""

    retryable = True


class LinkExpiredError(DownloadError):
    """The link no longer works; the API may give a new one."""


class Downloads:
    """Fetches pictures with one shared client, which knows no key: the API's key never leaves for another host.

    Args:
        connect_timeout_seconds: for each connection.
    """

    def __init__(self, connect_timeout_seconds: float) -> None:
        self._http = httpx.Client(
            timeout=httpx.Timeout(READ_TIMEOUT_SECONDS, connect=connect_timeout_seconds),
            follow_redirects=False,
            trust_env=False,
            transport=httpx.HTTPTransport(retries=0, limits=httpx.Limits(max_connections=256, keepalive_expiry=5.0)),
        )

    def close(self) -> None:
        self._http.close()

    def fetch(self, url: str, images: ImageStore, progress: Callable[[], None]) -> StoredImage:
        """Download a picture into the store; checked by decoding it, durable when it returns.

        Args:
            url: http or https.
            images: where it is kept.
            progress: called between pieces; what it raises ends the download.

        Raises:
            LinkExpiredError: the link answers 401, 403, 404 or 410.
            DownloadError: it did not come, came incomplete, or is no picture.
        """
        deadline = time.monotonic() + DEADLINE_SECONDS
        for _ in range(MAX_REDIRECTS + 1):
            try:
                found = self._get(url, images, progress, deadline)
            except httpx.HTTPError as error:
                raise DownloadError(f"the picture did not come: {type(error).__name__}") from error
            except PictureError as error:
                raise DownloadError(f"what came is not the picture: {error}") from error
            if isinstance(found, StoredImage):
                return found
            url = found
        raise DownloadError(f"the picture's link redirects more than {MAX_REDIRECTS} times")

    def _get(self, url: str, images: ImageStore, progress: Callable[[], None], deadline: float) -> StoredImage | str:
        """The stored picture, or the address that the answer redirects to."""
        if urlsplit(url).scheme not in ("http", "https"):
            raise DownloadError("the picture's link is neither http nor https")
        with self._http.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
            if response.has_redirect_location:
                return urljoin(url, response.headers["Location"])
            if response.status_code in EXPIRED:
                raise LinkExpiredError(f"the picture's link answers HTTP {response.status_code}")
            if response.status_code != httpx.codes.OK:
                raise DownloadError(f"the picture's link answers HTTP {response.status_code}")
            with images.incoming() as incoming:
                for chunk in response.iter_raw(CHUNK_BYTES):
                    if time.monotonic() > deadline:
                        raise DownloadError(f"the picture did not come whole within {DEADLINE_SECONDS:.0f} s")
                    progress()
                    incoming.write(chunk)
                return incoming.keep()

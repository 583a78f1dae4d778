"""Downloads: fetches pictures that somebody else's links name: finished ones, and those that a manifest names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Self
from urllib.parse import urljoin

import httpx

from jobs.errors import BlendqError, PictureError
from jobs.net.addresses import AddressRefused, AddressRules, parse_target
from jobs.net.http1 import Answer
from jobs.net.outbound import Outbound, Pace, TooSlow
from jobs.pictures.decoding import Decoder
from jobs.pictures.images import ImageStore, StoredImage
from jobs.settings import Settings

MAX_REDIRECTS = 3
DEADLINE_SECONDS = 180.0
# What servers answer to a link that has expired.
EXPIRED = frozenset({401, 403, 404, 410})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class DownloadError(BlendqError):
    """The picture did not come this time."""

    retryable = True


class LinkExpiredError(DownloadError):
    """The link no longer works; the API may give a new one."""


class Downloads:
    """Fetches pictures from places that are allowed, and decodes them where they can do no harm.

    Knows no key: the API's key never leaves for another host.

    Args:
        connect_timeout_seconds: for each connection.
        rules: where it may connect to; by default only to the public internet.
        decoder: closed with this; by default one of its own.
    """

    def __init__(
        self, connect_timeout_seconds: float, rules: AddressRules | None = None, decoder: Decoder | None = None
    ) -> None:
        self._outbound = Outbound(rules or AddressRules(), connect_timeout_seconds)
        self._decoder = decoder or Decoder()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """With the rules that the settings describe."""
        return cls(
            settings.connect_timeout_seconds,
            AddressRules.of(settings.allowed_networks, [api.url for api in settings.apis]),
        )

    def close(self) -> None:
        self._decoder.close()

    def fetch(self, url: str, images: ImageStore, progress: Callable[[], None]) -> StoredImage:
        """Download a picture into the store; checked by decoding it, durable when it returns.

        Args:
            url: http or https.
            images: where it is kept.
            progress: called often; what it raises ends the download.

        Raises:
            LinkExpiredError: the link answers 401, 403, 404 or 410.
            DownloadError: it did not come, came incomplete, is no picture, or is where nothing may be fetched from.
        """
        pace = Pace("the picture", DEADLINE_SECONDS, progress)
        try:
            for _ in range(MAX_REDIRECTS + 1):
                found = self._get(url, images, pace)
                if isinstance(found, StoredImage):
                    return found
                url = found
        except httpx.TransportError as error:
            why = f" ({error})" if isinstance(error, httpx.ConnectError) else ""  # no such host, nobody listens
            raise DownloadError(f"the picture did not come: {type(error).__name__}{why}") from error
        except PictureError as error:
            raise DownloadError(f"what came is not the picture: {error}") from error
        except AddressRefused as error:
            raise DownloadError(f"the picture is not fetched: {error}") from error
        except TooSlow as error:
            raise DownloadError(str(error)) from error
        raise DownloadError(f"the picture's link redirects more than {MAX_REDIRECTS} times")

    def _get(self, url: str, images: ImageStore, pace: Pace) -> StoredImage | str:
        """The stored picture, or the link that the answer redirects to: to be checked as this one was."""
        with self._outbound.get(parse_target(url), pace) as answer:
            if answer.status in _REDIRECTS and (location := _location(answer)):
                return _joined(url, location)
            if answer.status in EXPIRED:
                raise LinkExpiredError(f"the picture's link answers HTTP {answer.status}")
            if answer.status != HTTPStatus.OK:
                raise DownloadError(f"the picture's link answers HTTP {answer.status}")
            with images.incoming(check=partial(self._decoder.check, progress=pace.progress)) as incoming:
                for chunk in answer.parts():
                    incoming.write(chunk)
                return incoming.keep()


def _location(answer: Answer) -> str | None:
    return next(
        (value.decode("utf-8", "replace") for name, value in answer.headers if name.lower() == b"location"), None
    )


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:  # a broken IPv6 address
        raise AddressRefused("the link redirects to no web address") from error

"""One exchange with the API: a request goes out, and comes back as an answer or as a failure, in bounded time and size.

The one place where foreign exceptions become values: `FAILURES` lists them all.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from worker.proxy.body import Body
from worker.proxy.reply import RawAnswer
from worker.proxy.transport import Deadline
from worker.proxy.wire import clean

# The most specific first. Tests hold this against everything that httpx's transports may raise.
FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (httpx.ConnectTimeout, "no connection in time"),
    (httpx.PoolTimeout, "no free connection in time: more calls at once than connections"),
    (httpx.WriteTimeout, "the API stopped taking the request"),
    (httpx.ReadTimeout, "no complete answer in time"),
    (httpx.TimeoutException, "out of time"),
    (httpx.ConnectError, "no connection"),
    (httpx.WriteError, "the connection broke while sending"),
    (httpx.ReadError, "the connection broke while waiting for the answer"),
    (httpx.NetworkError, "the connection broke"),
    (httpx.RemoteProtocolError, "the connection was closed, or the answer is not HTTP"),
    (httpx.ProtocolError, "the exchange broke the HTTP protocol"),
    (httpx.ProxyError, "a network proxy refused"),
    (httpx.UnsupportedProtocol, "the address is neither http:// nor https://"),
    (httpx.TransportError, "the exchange failed"),
)
_NOT_PACKED = ("", "identity")
_ZLIB_OR_GZIP = zlib.MAX_WBITS | 32


@dataclass(frozen=True, slots=True)
class Failure:
    """There is no answer; `message` says why."""

    message: str


class BodyStopped(Exception):
    """The body ended early; `Upload.error` says why. A type of its own: it must not be taken for the wire's."""


class Upload(httpx.SyncByteStream):
    """A body on its way, and how far it came.

    `committed`: the last byte may be out. `error`: what the body, its `commit` or its `progress` raised, so that it
    comes out of the exchange as it was, whatever the layers between make of it.

    Args:
        answer_seconds: what the deadline is set to at the commit; until then it bounds the upload.
    """

    def __init__(
        self,
        body: Body,
        commit: Callable[[], None],
        progress: Callable[[], None] | None,
        deadline: Deadline,
        answer_seconds: float,
    ) -> None:
        self._chunks = body.stream(self._commit, progress)
        self._make_durable = commit
        self._deadline = deadline
        self._answer_seconds = answer_seconds
        self.committed = False
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        # A failed write is never thrown in here, so whatever is raised while a chunk is made is the body's own.
        try:
            yield from self._chunks
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise BodyStopped from error

    def close(self) -> None:
        """Let go of the open picture when the body was not taken to its end."""
        self._chunks.close()

    def _commit(self) -> None:
        self._make_durable()
        self.committed = True
        self._deadline.restart(self._answer_seconds)


def exchange(transport: httpx.BaseTransport, request: httpx.Request, max_bytes: int) -> RawAnswer | Failure:
    """Send `request` and read its answer, all before the deadline that it brings along.

    Args:
        max_bytes: of the answer's body, packed and unpacked; a longer one comes back truncated.
    """
    try:
        response = transport.handle_request(request)
    except httpx.TransportError as error:
        return Failure(_words(error))
    try:
        return _read(response, max_bytes)
    finally:
        response.close()


def _words(error: httpx.TransportError) -> str:
    words = next(words for kind, words in FAILURES if isinstance(error, kind))
    detail = clean(str(error))
    return f"{words} ({detail})" if detail else words


def _read(response: httpx.Response, max_bytes: int) -> RawAnswer:
    body, complete = bytearray(), False
    with suppress(httpx.TransportError, zlib.error):  # What came is kept: a status alone may decide.
        complete = _read_body(response, body, max_bytes)
    return RawAnswer(response.status_code, dict(response.headers), bytes(body), not complete, datetime.now(UTC))


def _read_body(response: httpx.Response, body: bytearray, max_bytes: int) -> bool:
    """Fill `body`; tell whether it is all of it. Plain bytes were asked for, but some servers pack regardless."""
    packing = response.headers.get("content-encoding", "").strip().lower()
    if packing in _NOT_PACKED:
        for chunk in _parts(response):
            body += chunk[: max_bytes - len(body) + 1]
            if len(body) > max_bytes:
                return False
        return True
    return packing in ("gzip", "x-gzip", "deflate") and _unpack(response, body, max_bytes)


def _parts(response: httpx.Response) -> Iterator[bytes]:
    assert isinstance(response.stream, httpx.SyncByteStream)  # noqa: S101  (for mypy)
    return iter(response.stream)


def _unpack(response: httpx.Response, body: bytearray, max_bytes: int) -> bool:
    """Never makes more than `max_bytes` of what comes in: a small answer can unpack to gigabytes."""
    unpacker, packed_bytes = zlib.decompressobj(_ZLIB_OR_GZIP), 0
    for chunk in _parts(response):
        packed_bytes += len(chunk)
        body += unpacker.decompress(chunk, max_bytes - len(body) + 1)
        if len(body) > max_bytes or packed_bytes > max_bytes:
            return False
    return unpacker.eof or not packed_bytes

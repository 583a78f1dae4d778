"""The wire under the client: connections whose every read and write ends at a deadline of the whole call.

httpx's timeouts are per read and per write, so a server that sends a byte now and then can hold a thread for hours.
Here the call's `Deadline` bounds each of them too. The bounds are firm for reads; a write may outlast the deadline by
one write timeout, and a connect by what the name lookup takes (the resolver has its own limits).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Any, cast

import httpcore
import httpx

# Names of request extensions, and of the answer extension that keeps a redirect's target.
FRESH = "blendq.fresh"
LOCATION = "blendq.location"

# Small enough that the deadline is looked at often, and that the kernel takes one in one or two sends.
_WRITE_BYTES = 64 << 10
# httpx would follow up on these: refuse an answer whose Location it cannot parse, and send cookies back.
_DROPPED_HEADERS = (b"location", b"set-cookie")

SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class Deadline:
    """The end of a phase of a call, on this machine's monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._end = monotonic() + seconds

    def restart(self, seconds: float) -> None:
        self._end = monotonic() + seconds

    def remaining_seconds(self) -> float:
        return self._end - monotonic()


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


@contextmanager
def bounded_by(deadline: Deadline) -> Iterator[None]:
    """All wire work of this thread inside the block ends at `deadline`."""
    token = _current.set(deadline)
    try:
        yield
    finally:
        _current.reset(token)


def _limit(timeout: float | None, too_late: type[httpcore.TimeoutException]) -> float | None:
    deadline = _current.get()
    if deadline is None:
        return timeout
    remaining = deadline.remaining_seconds()
    if remaining <= 0:
        raise too_late("the time for the whole call is over")
    return remaining if timeout is None else min(timeout, remaining)


class _BoundedStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _limit(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _WRITE_BYTES):
            self._write_piece(buffer[start : start + _WRITE_BYTES], _limit(timeout, httpcore.WriteTimeout))

    def _write_piece(self, piece: bytes, limit: float | None) -> None:
        try:
            self._stream.write(piece, limit)
        except httpcore.WriteTimeout as error:
            if not self._stream.get_extra_info("is_readable"):
                raise
            # The server stopped taking the body because it has answered already. After a WriteError, unlike after a
            # timeout, httpcore reads that answer.
            raise httpcore.WriteError("the API answered before it took the whole request") from error

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        limit = _limit(timeout, httpcore.ConnectTimeout)
        return _BoundedStream(self._stream.start_tls(ssl_context, server_hostname, limit))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _BoundedBackend(httpcore.NetworkBackend):
    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.NetworkStream:
        limit = _limit(timeout, httpcore.ConnectTimeout)
        try:
            return _BoundedStream(self._backend.connect_tcp(host, port, limit, local_address, socket_options))
        except UnicodeError as error:  # a name that cannot be asked for, such as one with an empty label
            raise httpcore.ConnectError(f"not a host name: {host}") from error


class _AnswerStream(httpx.SyncByteStream):
    def __init__(self, stream: Iterable[bytes]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        if hasattr(self._stream, "close"):
            self._stream.close()


class BoundedTransport(httpx.BaseTransport):
    """httpx's transport, on connections bounded by the current `Deadline`. Raises httpcore's exceptions.

    No retries, no proxies, nothing from the environment. A request with the extension FRESH gets a connection of its
    own: a kept one may be closed by the server at the very moment the request goes out, and after the last byte that
    would leave a submission in doubt.

    Args:
        max_connections: at once, for each of the two kinds.
        keepalive_seconds: how long an idle connection is kept.
    """

    def __init__(self, max_connections: int, keepalive_seconds: float) -> None:
        context = httpx.create_ssl_context(trust_env=False)
        self._kept = self._pool(context, max_connections, max_connections, keepalive_seconds)
        self._fresh = self._pool(context, max_connections, 0, 0.0)

    @staticmethod
    def _pool(context: ssl.SSLContext, most: int, kept: int, keepalive_seconds: float) -> httpcore.ConnectionPool:
        return httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=most,
            max_keepalive_connections=kept,
            keepalive_expiry=keepalive_seconds,
            retries=0,
            network_backend=_BoundedBackend(),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        pool = self._fresh if request.extensions.get(FRESH) else self._kept
        url = request.url
        answer = pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=cast("httpx.SyncByteStream", request.stream),
                extensions=request.extensions,
            )
        )
        location = next((value for name, value in answer.headers if name.lower() == b"location"), b"")
        return httpx.Response(
            answer.status,
            headers=[pair for pair in answer.headers if pair[0].lower() not in _DROPPED_HEADERS],
            stream=_AnswerStream(cast("Iterable[bytes]", answer.stream)),
            extensions=dict(answer.extensions) | {LOCATION: location.decode("latin-1")},
        )

    def close(self) -> None:
        self._kept.close()
        self._fresh.close()

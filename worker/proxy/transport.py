"""The wire under the client: connections whose every read and write ends at a deadline of the whole call.

httpcore's timeouts are per read and per write, so a server that sends a byte now and then can hold a thread for hours.
Here the call's `Deadline` bounds each of them too. The bounds are firm for reads; a write may outlast the deadline by
one write timeout, and a connect by what the name lookup takes (the resolver has its own limits).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Any

import httpcore
import httpx

# Small enough that the deadline is looked at often, and that the kernel takes one in one or two sends.
_WRITE_BYTES = 64 << 10

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


class Wire:
    """Connections to the API, bounded by the current `Deadline`. Raises httpcore's exceptions.

    No retries, no redirects, no cookies, no network proxies, nothing from the environment.

    Args:
        max_connections: at once, of those that are kept.
        keepalive_seconds: how long an idle connection is kept.
    """

    def __init__(self, max_connections: int, keepalive_seconds: float) -> None:
        self._ssl = httpx.create_ssl_context(trust_env=False)
        self._backend = _BoundedBackend()
        self._kept = httpcore.ConnectionPool(
            ssl_context=self._ssl,
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=keepalive_seconds,
            retries=0,
            network_backend=self._backend,
        )

    @contextmanager
    def fresh(self, request: httpcore.Request) -> Iterator[httpcore.Response]:
        """The answer, on a connection of its own.

        A kept one may be closed by the server at the very moment the request goes out, and after the last byte that
        would leave a submission in doubt.
        """
        with httpcore.HTTPConnection(request.url.origin, self._ssl, network_backend=self._backend) as connection:
            yield connection.handle_request(request)

    @contextmanager
    def kept(self, request: httpcore.Request) -> Iterator[httpcore.Response]:
        """The answer, on whichever connection is free."""
        answer = self._kept.handle_request(request)
        try:
            yield answer
        finally:
            answer.close()

    def close(self) -> None:
        self._kept.close()

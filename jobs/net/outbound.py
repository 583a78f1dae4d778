"""The wire under downloads and webhooks: connections to checked addresses only, that end when nothing much comes.

Every answer has a connection of its own, so nothing of one link can touch another.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from time import monotonic
from typing import Any

import httpcore
import httpx

from jobs.errors import BlendqError
from jobs.net.addresses import AddressRules, Target

READ_TIMEOUT_SECONDS = 10.0  # so long, at most, until a worker that is to leave does
# A sender that drips is ended: after so long its average must be at least this.
RATE_AFTER_SECONDS = 10.0
MIN_RATE_BYTES_PER_SECOND = 1024.0
# Of a name with many addresses; together they get the time of one connection.
MAX_ADDRESSES = 4

# All that httpcore can raise. The test holds this against its list.
WIRE_ERRORS: tuple[type[Exception], ...] = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
)
SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class TooSlow(BlendqError):
    """The other side sends, but not fast enough."""

    retryable = True


class Pace:
    """How fast a whole download has to go, over all its redirects.

    Args:
        what: is awaited, as errors call it.
        seconds: for all of it.
        progress: called before every wait; what it raises ends the download.
    """

    def __init__(self, what: str, seconds: float, progress: Callable[[], None]) -> None:
        self.what = what
        self._seconds = seconds
        self._end = monotonic() + seconds
        self.progress = progress

    def limit(self, timeout: float | None) -> float:
        """`timeout`, or what is left of the whole.

        Raises:
            TooSlow: nothing is left.
        """
        self.progress()
        remaining = self._end - monotonic()
        if remaining <= 0:
            raise TooSlow(f"{self.what} did not come whole within {self._seconds:.0f} s")
        return remaining if timeout is None else min(timeout, remaining)


class _PacedStream(httpcore.NetworkStream):
    """Ends with the pace, and when too little comes. Counts from the first byte: a server may think before it."""

    def __init__(self, stream: httpcore.NetworkStream, pace: Pace) -> None:
        self._stream = stream
        self._pace = pace
        self._first_at: float | None = None
        self._bytes = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        came = self._read(max_bytes, timeout)
        now = monotonic()
        if self._first_at is None:
            self._first_at = now
        self._bytes += len(came)
        seconds = now - self._first_at
        if seconds > RATE_AFTER_SECONDS and self._bytes < seconds * MIN_RATE_BYTES_PER_SECOND:
            raise TooSlow(f"{self._pace.what} comes too slowly: {self._bytes:,} bytes in {seconds:.0f} s")
        return came

    def _read(self, max_bytes: int, timeout: float | None) -> bytes:
        try:
            return self._stream.read(max_bytes, self._pace.limit(timeout))
        except httpcore.ReadTimeout:
            self._pace.limit(timeout)  # raises when it was the whole that took too long
            raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._pace.limit(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        limit = self._pace.limit(timeout)
        return _PacedStream(self._stream.start_tls(ssl_context, server_hostname, limit), self._pace)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _CheckedBackend(httpcore.NetworkBackend):
    """Looks a name up, checks what comes, and connects to just that. TLS is then asked for the name, as ever."""

    def __init__(self, rules: AddressRules, pace: Pace) -> None:
        self._rules = rules
        self._pace = pace
        self._tcp = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002  (the interface's; nobody sets it)
        socket_options: Iterable[SocketOption] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        addresses = self._addresses(host, port)
        share = None if timeout is None else timeout / len(addresses)
        for address in addresses[:-1]:
            try:
                return self._connect(address, port, share)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connect(addresses[-1], port, share)

    def _addresses(self, host: str, port: int) -> list[str]:
        self._pace.progress()
        try:
            return self._rules.resolve(host, port)[:MAX_ADDRESSES]
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"no such host: {host}") from error

    def _connect(self, address: str, port: int, timeout: float | None) -> httpcore.NetworkStream:
        return _PacedStream(self._tcp.connect_tcp(address, port, self._pace.limit(timeout)), self._pace)


class Outbound:
    """Asks for what links name. Follows no redirects, retries nothing, reads no environment, knows no key.

    Args:
        rules: where it may connect to.
        connect_timeout_seconds: for each connection.
    """

    def __init__(self, rules: AddressRules, connect_timeout_seconds: float) -> None:
        self._rules = rules
        self._timeouts = {
            "connect": min(connect_timeout_seconds, READ_TIMEOUT_SECONDS),
            "read": READ_TIMEOUT_SECONDS,
            "write": READ_TIMEOUT_SECONDS,
        }

    @cached_property
    def _ssl(self) -> ssl.SSLContext:
        """Made when first needed: it takes a while, and whoever enqueues mostly needs none."""
        return httpx.create_ssl_context(trust_env=False)

    @contextmanager
    def get(self, target: Target, pace: Pace) -> Iterator[httpcore.Response]:
        """The answer, its body still to be read, by `iter_stream`.

        Raises:
            AddressRefused: the target is at an address that is not allowed.
            TooSlow: too little comes.
            WIRE_ERRORS: the exchange failed.
        """
        headers = [("Accept", "image/*,*/*;q=0.5"), ("Accept-Encoding", "identity")]
        with self._exchange("GET", target, headers, None, pace) as answer:
            yield answer

    @contextmanager
    def post(
        self, target: Target, headers: Sequence[tuple[str, str]], body: bytes, pace: Pace
    ) -> Iterator[httpcore.Response]:
        """The answer to a POST, its body not read. Raises what `get` does."""
        with self._exchange("POST", target, headers, body, pace) as answer:
            yield answer

    @contextmanager
    def _exchange(
        self, method: str, target: Target, headers: Sequence[tuple[str, str]], body: bytes | None, pace: Pace
    ) -> Iterator[httpcore.Response]:
        origin = httpcore.Origin(target.scheme.encode(), target.host.encode(), target.port)
        url = httpcore.URL(scheme=origin.scheme, host=origin.host, port=origin.port, target=target.path.encode())
        sent = [("Host", target.authority), *headers]
        backend = _CheckedBackend(self._rules, pace)
        with (
            httpcore.HTTPConnection(origin, self._ssl, network_backend=backend) as connection,
            connection.stream(
                method, url, headers=sent, content=body, extensions={"timeout": self._timeouts}
            ) as answer,
        ):
            yield answer

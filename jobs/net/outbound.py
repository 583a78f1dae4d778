"""The wire under downloads and webhooks: connections to checked addresses only, that end when nothing much comes.

Every answer has a connection of its own, so nothing of one link can touch another.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from time import monotonic

import httpx

from jobs.errors import BlendqError
from jobs.net.addresses import AddressRules, Target
from jobs.net.http1 import Answer, Header, request_head
from jobs.net.line import Line, Waits, first_connected, tls_context

READ_TIMEOUT_SECONDS = 10.0  # so long, at most, until a worker that is to leave does
# A sender that drips is ended: after so long its average must be at least this.
RATE_AFTER_SECONDS = 10.0
MIN_RATE_BYTES_PER_SECOND = 1024.0
# Of a name with many addresses; together they get the time of one connection.
MAX_ADDRESSES = 4
# Many hosts refuse whoever does not say so, with the 403 of a link that has expired.
_WHO_ASKS = (b"User-Agent", b"blendq")


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

    def limit(self, seconds: float) -> float:
        """`seconds`, or what is left of the whole.

        Raises:
            TooSlow: nothing is left.
        """
        self.progress()
        remaining = self._end - monotonic()
        if remaining <= 0:
            raise TooSlow(f"{self.what} did not come whole within {self._seconds:.0f} s")
        return min(seconds, remaining)


class _PacedLine(Line):
    """Ends with the pace, and when too little comes. Counts from the first byte: a server may think before it."""

    def __init__(self, address: str, port: int, waits: Waits, pace: Pace, share: float) -> None:
        """`share`: of the time for one connection."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__(family, (address, port), waits, lambda seconds: pace.limit(share * seconds))
        self.limit = pace.limit
        self._pace = pace
        self._first_at: float | None = None
        self._bytes = 0

    def receive(self) -> bytes:
        came = self._receive()
        now = monotonic()
        if self._first_at is None:
            self._first_at = now
        self._bytes += len(came)
        seconds = now - self._first_at
        if seconds > RATE_AFTER_SECONDS and self._bytes < seconds * MIN_RATE_BYTES_PER_SECOND:
            raise TooSlow(f"{self._pace.what} comes too slowly: {self._bytes:,} bytes in {seconds:.0f} s")
        return came

    def _receive(self) -> bytes:
        try:
            return super().receive()
        except httpx.ReadTimeout:
            self._pace.limit(READ_TIMEOUT_SECONDS)  # raises when it was the whole that took too long
            raise


class Outbound:
    """Asks for what links name. Follows no redirects, retries nothing, reads no environment, knows no key.

    Args:
        rules: where it may connect to.
        connect_timeout_seconds: for each connection.
    """

    def __init__(self, rules: AddressRules, connect_timeout_seconds: float) -> None:
        self._rules = rules
        self.waits = Waits(
            connect=min(connect_timeout_seconds, READ_TIMEOUT_SECONDS),
            read=READ_TIMEOUT_SECONDS,
            write=READ_TIMEOUT_SECONDS,
        )

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made when first needed: it takes a while, and whoever enqueues mostly needs none."""
        return tls_context()

    @contextmanager
    def get(self, target: Target, pace: Pace) -> Iterator[Answer]:
        """The answer, its body still to be read, by `parts`.

        Raises:
            AddressRefused: the target is at an address that is not allowed.
            TooSlow: too little comes.
            httpx.TransportError: the exchange failed.
        """
        headers = ((b"Accept", b"image/*,*/*;q=0.5"), (b"Accept-Encoding", b"identity"))
        with self._exchange("GET", target, headers, b"", pace) as answer:
            yield answer

    @contextmanager
    def post(self, target: Target, headers: Sequence[tuple[str, str]], body: bytes, pace: Pace) -> Iterator[Answer]:
        """The answer to a POST, its body not read. Raises what `get` does."""
        sent = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers]
        sent.append((b"Content-Length", str(len(body)).encode("ascii")))
        with self._exchange("POST", target, sent, body, pace) as answer:
            yield answer

    @contextmanager
    def _exchange(
        self, method: str, target: Target, headers: Sequence[Header], body: bytes, pace: Pace
    ) -> Iterator[Answer]:
        sent = ((b"Host", target.authority.encode("ascii")), _WHO_ASKS, *headers)
        head = request_head(method, target.path.encode("ascii"), sent)
        with closing(self._line(target, pace)) as line:
            with suppress(httpx.WriteError):  # it may have answered already: what it said is read
                line.send(head + body)
            yield Answer(line)

    def _line(self, target: Target, pace: Pace) -> Line:
        """Looks a name up, checks what comes, and connects to just that. TLS is then asked for the name, as ever."""
        line = self._connected(self._addresses(target, pace), target.port, pace)
        if target.scheme == "https":
            line.start_tls(self._tls, target.host)
        return line

    def _connected(self, addresses: Sequence[str], port: int, pace: Pace) -> Line:
        share = 1 / len(addresses)
        return first_connected(addresses, lambda address: _PacedLine(address, port, self.waits, pace, share))

    def _addresses(self, target: Target, pace: Pace) -> list[str]:
        pace.progress()
        try:
            return self._rules.resolve(target.host, target.port)[:MAX_ADDRESSES]
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(f"no such host: {target.host}") from error

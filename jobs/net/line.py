"""A line: one TCP connection, with TLS where it is asked for, on which every wait ends in time.

Raises httpx's errors, and nothing else. Without TLS it is the kernel that bounds each wait (SO_RCVTIMEO, SO_SNDTIMEO):
with a timeout of Python's own, each send and each receive would be two calls more, and each of these lets another
thread in. With TLS it is Python's, since one of its reads may take several of the kernel's.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from jobs.net import kernel_waits

READ_BYTES = 64 << 10

# How long the next wait may take, given how long it may take by itself; all in seconds. Nothing left: not above 0.
Limit = Callable[[float], float]

_SHORTEST_SECONDS = 0.001  # a timeval of 0 is no bound at all
_OUT_OF_TIME = (TimeoutError, BlockingIOError)  # Python's words, and the kernel's
_OVER = "the time for the whole call is over"


def tls_context() -> ssl.SSLContext:
    """Certificates and names are checked; nothing is read from the environment. Takes a while to make."""
    context = httpx.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])
    return context


@dataclass(frozen=True, slots=True)
class Waits:
    """How long each may take by itself, in seconds.

    `connect`: to one address, and a TLS handshake; `read`: until something comes; `write`: until something is taken.
    """

    connect: float
    read: float
    write: float


class Line:
    """A connection to one address.

    Args:
        family: AF_INET or AF_INET6.
        address: as `socket` has it for this family.
        waits: the bounds of its waits.
        limit: bounds them further, by the time that is left for a whole call; a line that is kept gets the next call's.

    Raises:
        httpx.ConnectError, httpx.ConnectTimeout: nobody is reached there.
    """

    def __init__(self, family: int, address: Any, waits: Waits, limit: Limit) -> None:
        self.limit = limit
        self._waits = waits
        self._bounds: dict[int, float] = {}
        self._tls = False
        self._early = b""  # what came while something was sent
        try:
            self._socket = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # no such family in this kernel, or too many open files
            raise _no_connection(error) from error
        with self._connecting():
            self._socket.settimeout(self._left(waits.connect, httpx.ConnectTimeout))
            self._socket.connect(address)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.settimeout(None)

    def start_tls(self, context: ssl.SSLContext, name: str) -> None:
        """From now on in secret, with whom the name says.

        Raises:
            httpx.ConnectError, httpx.ConnectTimeout: the other side speaks no TLS, or is another.
        """
        with self._connecting():
            self._socket.settimeout(self._left(self._waits.connect, httpx.ConnectTimeout))
            self._socket = context.wrap_socket(self._socket, server_hostname=name)
        self._tls = True

    def send(self, data: bytes) -> None:
        """All of it.

        Raises:
            httpx.WriteTimeout: nothing more of it is taken.
            httpx.WriteError: the connection broke, or what was sent so far was answered already.
        """
        rest = memoryview(data)
        while rest:
            self._bound(socket.SO_SNDTIMEO, self._left(self._waits.write, httpx.WriteTimeout))
            try:
                rest = rest[self._socket.send(rest) :]
            except _OUT_OF_TIME as error:
                if self._was_answered():
                    raise httpx.WriteError("the other side answered before it took the whole request") from error
                raise httpx.WriteTimeout("") from error
            except OSError as error:
                raise httpx.WriteError(str(error)) from error

    def receive(self) -> bytes:
        """What has come, as soon as something has; nothing when the other side has closed.

        Raises:
            httpx.ReadTimeout: nothing comes.
            httpx.ReadError: the connection broke.
        """
        if self._early:
            early, self._early = self._early, b""
            return early
        self._bound(socket.SO_RCVTIMEO, self._left(self._waits.read, httpx.ReadTimeout))
        try:
            return self._socket.recv(READ_BYTES)
        except _OUT_OF_TIME as error:
            raise httpx.ReadTimeout("") from error
        except OSError as error:
            raise httpx.ReadError(str(error)) from error

    def is_readable(self) -> bool:
        """Whether something has come, or the other side has closed: a line that is kept is then of no more use."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def _was_answered(self) -> bool:
        """Whether what was sent so far was answered, or the other side has closed.

        With TLS only a look inside tells: what has come is mostly no answer, but tickets for later sessions.
        """
        if not self._tls:
            return self.is_readable()
        self._bound(socket.SO_RCVTIMEO, _SHORTEST_SECONDS)
        try:
            self._early = self._socket.recv(READ_BYTES)
        except _OUT_OF_TIME:
            return False
        except OSError:
            pass  # it broke; whoever reads on is told so
        return True

    def close(self) -> None:
        self._socket.close()

    @contextmanager
    def _connecting(self) -> Iterator[None]:
        """Nothing is left open where it fails."""
        try:
            yield
        except OSError as error:
            self.close()
            raise _no_connection(error) from error
        except BaseException:
            self.close()
            raise

    def _left(self, seconds: float, too_late: type[httpx.TimeoutException]) -> float:
        left = self.limit(seconds)
        if left <= 0:
            raise too_late(_OVER)
        return max(left, _SHORTEST_SECONDS)

    def _bound(self, wait: int, seconds: float) -> None:
        if self._tls:
            self._socket.settimeout(seconds)
        elif self._bounds.get(wait) != seconds:
            kernel_waits.bound(self._socket, wait, seconds)
            self._bounds[wait] = seconds


T = TypeVar("T")
Connected = TypeVar("Connected", bound=Line)


def first_connected(places: Sequence[T], connect: Callable[[T], Connected]) -> Connected:
    """A line to the first of these places where somebody is; what the last one says where nobody is.

    Args:
        places: at least one.
        connect: makes the line.

    Raises:
        httpx.ConnectError, httpx.ConnectTimeout: nobody is reached at any of them.
    """
    for place in places[:-1]:
        try:
            return connect(place)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            continue
    return connect(places[-1])


def _no_connection(error: OSError) -> httpx.TransportError:
    kind = httpx.ConnectTimeout if isinstance(error, TimeoutError) else httpx.ConnectError
    return kind(str(error))

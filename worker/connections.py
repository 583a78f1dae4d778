"""Connections: what a stranger may hold open at the receiver's port, and for how long.

uvicorn has a deadline for idle connections alone: the head of a request may take for ever, and so may a body that
nobody reads. Here a connection has a deadline in every state; and when there are too many, the one that has kept us
waiting the longest makes room, so that those who only hold connections open cannot keep out those who call.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import resource
from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from worker.limits import sender

MAX_HEAD_BYTES = 8 * 1024
# After an answer, so much of a body that nobody reads is thrown away; then the connection is closed.
MAX_UNREAD_BYTES = 256 * 1024
# Files that are no connections: those to Redis above all.
OTHER_FILES = 600
_REFUSAL = b"HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n%s\r\n"
NO_ROOM = _REFUSAL % (b"503 Service Unavailable", b"Retry-After: 1\r\n")
NOT_HTTP = _REFUSAL % (b"400 Bad Request", b"")


class Connections:
    """Those that are open now.

    Args:
        most: how many there may be.
        most_of_one: how many of one address.
        proxies: addresses and networks that many callers come from; `most_of_one` does not count for them.
        head_seconds: in so much time a connection must bring the head of its next request.
        answer_seconds: in so much time a request must be answered, its body included.
    """

    def __init__(
        self,
        most: int,
        most_of_one: int,
        proxies: Iterable[str] = (),
        head_seconds: float = 10.0,
        answer_seconds: float = 20.0,
    ) -> None:
        self.head_seconds = head_seconds
        self.answer_seconds = answer_seconds
        self._most = min(most, _raise_file_limit(most + OTHER_FILES) - OTHER_FILES)
        self._most_of_one = most_of_one
        self._proxies = [ipaddress.ip_network(one) for one in proxies]
        self._open: dict[Connection, str] = {}
        self._of_one: Counter[str] = Counter()
        self._waiting: OrderedDict[Connection, None] = OrderedDict()  # for the head of a request, the longest first

    def __len__(self) -> int:
        return len(self._open)

    @property
    def protocol(self) -> type[asyncio.Protocol]:
        """What uvicorn makes for each connection."""
        return cast("type[asyncio.Protocol]", functools.partial(Connection, self))

    def admit(self, connection: Connection, address: str) -> bool:
        """Whether there is room for it; if need be, the one that has kept us waiting the longest is closed."""
        name = sender(address)
        if self._of_one[name] >= self._most_of_one and not self._is_proxy(address):
            return False
        if len(self._open) >= self._most:
            longest = next(iter(self._waiting), None)
            if longest is None:
                return False
            self.left(longest)
            longest.cut()
        self._open[connection] = name
        self._of_one[name] += 1
        return True

    def waits(self, connection: Connection) -> None:
        if connection in self._open:
            self._waiting.pop(connection, None)
            self._waiting[connection] = None

    def works(self, connection: Connection) -> None:
        self._waiting.pop(connection, None)

    def left(self, connection: Connection) -> None:
        self._waiting.pop(connection, None)
        if (name := self._open.pop(connection, None)) is not None:
            self._of_one[name] -= 1
            if not self._of_one[name]:
                del self._of_one[name]

    def _is_proxy(self, address: str) -> bool:
        try:
            return any(ipaddress.ip_address(address) in network for network in self._proxies)
        except ValueError:
            return False


class Connection(H11Protocol):
    """One connection."""

    def __init__(self, connections: Connections, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connections = connections
        self._deadline: asyncio.TimerHandle | None = None
        self._unread_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self._connections.admit(self, self.client[0] if self.client else ""):
            transport.write(NO_ROOM)
            transport.close()
        self._mark()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.left(self)
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # In pieces, since h11 minds the size of a head only while it is incomplete.
        for start in range(0, len(data), MAX_HEAD_BYTES):
            if self.transport.is_closing():
                return
            self._take(data[start : start + MAX_HEAD_BYTES])

    def _take(self, data: bytes) -> None:
        worked = self._working
        if not worked and self.conn.their_state is h11.SEND_BODY:
            self._unread_bytes += len(data)
            if self._unread_bytes > MAX_UNREAD_BYTES:
                self.cut()
                return
        super().data_received(data)
        if self._working and not worked:
            self._mark()

    def on_response_complete(self) -> None:
        self._unread_bytes = 0
        super().on_response_complete()
        self._mark()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  (a stranger is told nothing)
        if not (self.cycle and self.cycle.response_started and not self.cycle.response_complete):
            self.transport.write(NOT_HTTP)
        self.transport.close()

    def cut(self) -> None:
        self.transport.abort()

    @property
    def _working(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _mark(self) -> None:
        """From here on it waits for a request, or works on one. Both have a deadline."""
        if self._deadline is not None:
            self._deadline.cancel()
        working = self._working
        (self._connections.works if working else self._connections.waits)(self)
        seconds = self._connections.answer_seconds if working else self._connections.head_seconds
        self._deadline = self.loop.call_later(seconds, self.cut)


def _raise_file_limit(wanted: int) -> int:
    """How many files may be open, after the limit was raised as far as needed and allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft

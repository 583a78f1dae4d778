"""Connection: uvicorn's, with the deadlines that it has not.

It bounds how long a connection idles between two requests, and nothing else: a head that comes by a byte a minute would
hold it for ever, and so would a caller who does not read. Bodies have their deadlines where they are read.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from jobs.net.connections import Connections

# Whoever sends a long batch may read its answers only afterwards.
UNREAD_SECONDS = 600.0
_NO_ROOM = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n"


class Connection(H11Protocol):
    """One connection.

    Args:
        room: all of them.
        uvicorns: what uvicorn gives its own.
    """

    def __init__(self, *uvicorns: Any, room: Connections, **more: Any) -> None:
        super().__init__(*uvicorns, **more)
        self._room = room
        self._head_due: asyncio.TimerHandle | None = None
        self._unread_until: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        if self._room.admit(self, self.client[0] if self.client else ""):
            self._wait_for_head()
        else:
            transport.write(_NO_ROOM)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.left(self)
        _cancel(self._head_due, self._unread_until)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._room.works(self)
            _cancel(self._head_due)

    def on_response_complete(self) -> None:
        """Also the rest of a body that nobody wants has to come before the next head is due."""
        before = self.cycle
        super().on_response_complete()
        if self.cycle is before:
            self._wait_for_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_until = self.loop.call_later(UNREAD_SECONDS, self.cut)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._unread_until)

    def cut(self) -> None:
        self.transport.abort()

    def leave(self) -> None:
        self.shutdown()

    def _wait_for_head(self) -> None:
        _cancel(self._head_due)
        self._room.waits(self)
        self._head_due = self.loop.call_later(self._room.head_seconds, self.cut)


def _cancel(*timers: asyncio.TimerHandle | None) -> None:
    for timer in timers:
        if timer is not None:
            timer.cancel()

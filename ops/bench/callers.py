"""Callers: requests to one or more HTTP servers over connections that are kept open, as cheaply as asyncio allows.

Both the stand-in API (its callbacks) and the limit (what nobody can be faster than) call this way.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import cast
from urllib.parse import urlsplit

import httptools

CONNECTIONS = 32

Heard = Callable[[int, bytes], None]
# In pieces, which are never put together: a large one costs no copy.
Message = Sequence[bytes]


class Callers:
    """POSTs JSON wherever it is told to. `codes` counts what was answered; 0 stands for no answer.

    Args:
        connections: how many at once to each server.
    """

    def __init__(self, connections: int = CONNECTIONS) -> None:
        self.codes: Counter[int] = Counter()
        self._connections = connections
        self._servers: dict[str, Server] = {}

    def call(self, url: str, body: bytes) -> None:
        parts = urlsplit(url)
        message = request("POST", parts.netloc, parts.path, body)
        self._server(parts.netloc).ask([message], lambda code, _: self._count(code))

    def _count(self, code: int) -> None:
        self.codes[code] += 1

    def _server(self, netloc: str) -> Server:
        if (found := self._servers.get(netloc)) is None:
            found = self._servers[netloc] = Server(netloc, self._connections)
        return found

    def close(self) -> None:
        """Close the connections that are idle; the next callers open new ones."""
        for server in self._servers.values():
            server.close()


def request(method: str, netloc: str, path: str, body: bytes = b"") -> bytes:
    return head(method, netloc, path, len(body)) + body


def head(method: str, netloc: str, path: str, body_bytes: int) -> bytes:
    lines = f"{method} {path} HTTP/1.1\r\nHost: {netloc}\r\nContent-Type: application/json\r\n"
    return f"{lines}Content-Length: {body_bytes}\r\n\r\n".encode()


class Server:
    """One server, and the requests to it that wait for a free connection.

    Args:
        netloc: host:port.
        connections: how many at once.
    """

    def __init__(self, netloc: str, connections: int) -> None:
        self._host, _, port = netloc.rpartition(":")
        self._port = int(port)
        self._room = connections
        self._waiting: deque[tuple[Message, Heard]] = deque()
        self._free: list[_Line] = []
        self._connecting: set[asyncio.Task[None]] = set()

    def ask(self, message: Message, heard: Heard) -> None:
        """Send it as soon as a connection is free; `heard` gets the answer's code and body, or 0 when none came."""
        if self._free:
            self._free.pop().ask(message, heard)
            return
        self._waiting.append((message, heard))
        if self._room:
            self._room -= 1
            task = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: _Line(self), self._host, self._port)
        except OSError:
            self._room += 1
            while self._waiting:
                self._waiting.popleft()[1](0, b"")

    def free(self, line: _Line) -> None:
        if self._waiting:
            line.ask(*self._waiting.popleft())
        else:
            self._free.append(line)

    def lost(self, line: _Line) -> None:
        self._room += 1
        if line in self._free:
            self._free.remove(line)
        if self._waiting:
            self.ask(*self._waiting.popleft())

    def close(self) -> None:
        idle, self._free = self._free, []
        for line in idle:
            line.transport.close()


class _Line(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._heard: Heard | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._server.free(self)

    def ask(self, message: Message, heard: Heard) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._heard, self._body = heard, b""
        self.transport.writelines(message)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._say(self._parser.get_status_code(), self._body)
        if self._parser.should_keep_alive():
            self._server.free(self)
        else:
            self.transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._say(0, b"")
        self._server.lost(self)

    def _say(self, code: int, body: bytes) -> None:
        if self._heard is not None:
            heard, self._heard = self._heard, None
            heard(code, body)

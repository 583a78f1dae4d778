"""Servers that misbehave on a real wire, and clients for them."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jobs.request import BlendRequest
from worker.proxy.body import BlendBody, Picture
from worker.proxy.client import ProxyClient, Timeouts

KEY = "sk-key-of-ours"
WAIT_SECONDS = 10.0
SHORT = Timeouts(connect=5, write=0.4, answer=0.6, upload=5)
ACCEPTED = {"code": 1, "description": "提交成功", "properties": {}, "result": 1320098173412546}
# More than the kernel buffers of both ends hold: the upload cannot end before the server acts.
BIG_BYTES = 16 << 20


class Connection:
    """One accepted connection, as the server sees it."""

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        self.sock = sock
        self.stopping = stopping
        self.request_line = ""
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self._left_over = b""

    def read_head(self) -> None:
        data = self._left_over
        while b"\r\n\r\n" not in data:
            data += self._some() or b"\r\n\r\n"
        head, _, rest = data.partition(b"\r\n\r\n")
        self.request_line, *lines = head.decode("latin-1").split("\r\n")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.body = bytearray(rest)
        self._left_over = b""

    def read_body(self, most: int | None = None) -> None:
        """Up to `most` bytes; by default all that Content-Length announces, or until the client gives up."""
        length = int(self.headers.get("content-length", 0)) if most is None else most
        while len(self.body) < length and (chunk := self._some()):
            self.body += chunk

    def read_to_the_end(self) -> None:
        while chunk := self._some():
            self.body += chunk

    def _some(self) -> bytes:
        try:
            return self.sock.recv(1 << 16)
        except OSError:
            return b""

    def send(self, data: bytes) -> bool:
        try:
            self.sock.sendall(data)
        except OSError:
            return False
        return True

    def answer(self, body: object = b"", status: int = 200, *headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(data)}", *headers]
        self.send("\r\n".join([*lines, "", ""]).encode() + data)

    def take(self, body: object = b"", status: int = 200, *headers: str) -> None:
        """The whole request, then an answer."""
        self.read_head()
        self.read_body()
        self.answer(body, status, *headers)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def drip(self, byte: bytes) -> None:
        """The same bytes again and again, a little apart, until the client has had enough."""
        while self.send(byte) and not self.stopping.wait(0.02):
            pass

    def hold(self) -> None:
        """Do nothing, with the connection open, until the test is over."""
        self.stopping.wait(WAIT_SECONDS)


Play = Callable[[Connection], None]


class Server:
    """Plays one part per connection, the last one again for all that follow."""

    def __init__(self, *parts: Play) -> None:
        self.parts = parts
        self.connections: list[Connection] = []
        self.ended = threading.Semaphore(0)
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            sock, _ = self._listener.accept()
            if self._stopping.is_set():
                sock.close()
                return
            sock.settimeout(WAIT_SECONDS)
            connection = Connection(sock, self._stopping)
            self.connections.append(connection)
            part = self.parts[min(len(self.connections), len(self.parts)) - 1]
            self._threads.append(threading.Thread(target=self._play, args=(part, connection)))
            self._threads[-1].start()

    def _play(self, part: Play, connection: Connection) -> None:
        try:
            part(connection)
        finally:
            connection.sock.close()
            self.ended.release()

    def wait_for_ends(self, count: int = 1) -> None:
        """Until `count` connections were played to their end."""
        for _ in range(count):
            assert self.ended.acquire(timeout=WAIT_SECONDS)

    def close(self) -> None:
        self._stopping.set()
        socket.create_connection(self._listener.getsockname()).close()
        for thread in self._threads:
            thread.join(WAIT_SECONDS)
            assert not thread.is_alive()
        self._listener.close()


class Stage:
    """Servers and clients of one test, closed at its end."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder

    def server(self, *parts: Play) -> Server:
        server = Server(*parts)
        self._stack.callback(server.close)
        return server

    def client(self, url: str, key: str | None = KEY, **options: Any) -> ProxyClient:
        return self._stack.enter_context(ProxyClient(url, key, **({"timeouts": SHORT} | options)))

    def body(self, picture_bytes: int = 1000) -> BlendBody:
        several = []
        for name in ("a", "b"):
            path = self._folder / name
            path.write_bytes(b"\x89PNG" + bytes(picture_bytes - 4))
            several.append(Picture("image/png", path, picture_bytes))
        return BlendBody(BlendRequest(images=("a", "b")), several, None, "token")


class Commit:
    def __init__(self, error: BaseException | None = None) -> None:
        self.calls = 0
        self.error = error

    def __call__(self) -> None:
        self.calls += 1
        if self.error:
            raise self.error


def take(body: object = b"", status: int = 200, *headers: str) -> Play:
    """One answer, and a close that is announced."""
    return lambda connection: connection.take(body, status, "Connection: close", *headers)


THEN: dict[str, Callable[[Connection], None]] = {
    "hold": Connection.hold,
    "close": lambda connection: None,
}

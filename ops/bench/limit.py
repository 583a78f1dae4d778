"""The limit: what nobody can be faster than. The same bytes, made beforehand, over raw sockets.

    python -m ops.bench.limit HTTP://API FOLDER < BLENDS

One process sends each blend's request, hears its callback, and fetches its picture; it keeps nothing. It prints its
seconds and its processor time as JSON.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop

from jobs.net.listening import url_of
from ops.bench import ports
from ops.bench.callers import Server, head, request

AT_ONCE = 16


class Sink(asyncio.Protocol):
    """Hears callbacks: says 200, and hands the task on."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        task, self._body = json.loads(self._body), b""
        self._limit.fetch(urlsplit(task["imageUrl"]).path)


class Limit:
    """One run: all requests at hand, so many connections at once."""

    def __init__(self, api_url: str, blends: Sequence[Sequence[str]]) -> None:
        self._netloc = urlsplit(api_url).netloc
        self._blends = blends
        self._left = len(blends)
        self._done = asyncio.Event()

    async def run(self) -> dict[str, float]:
        listener = ports.listener()
        loop = asyncio.get_running_loop()
        sink = await loop.create_server(lambda: Sink(self), sock=listener)
        encoded = {one: _data_url(Path(one)) for blend in self._blends for one in blend}
        self._server = Server(self._netloc, AT_ONCE)
        began, cpu = time.monotonic(), time.process_time()
        for number, blend in enumerate(self._blends):
            body = _body([encoded[one] for one in blend], f"{url_of(listener)}/{number}")
            start = head("POST", self._netloc, "/mj/submit/blend", sum(map(len, body)))
            self._server.ask([start, *body], lambda *_: None)
        await self._done.wait()
        found = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - cpu}
        self._server.close()
        sink.close()
        return found

    def fetch(self, path: str) -> None:
        self._server.ask([request("GET", self._netloc, path)], lambda *_: self._fetched())

    def _fetched(self) -> None:
        self._left -= 1
        if not self._left:
            self._done.set()


def _data_url(path: Path) -> bytes:
    return b'"data:image/png;base64,' + base64.b64encode(path.read_bytes()) + b'"'


def _body(pictures: Sequence[bytes], hook: str) -> list[bytes]:
    """In pieces: the pictures are shared by all bodies."""
    options = f'"notifyHook":"{hook}","state":"","botType":"MID_JOURNEY","dimensions":"SQUARE"}}'
    pieces = [piece for picture in pictures for piece in (b",", picture)]
    return [b'{"base64Array":[', *pieces[1:], b"],", options.encode()]


def main() -> None:
    blends = [json.loads(line) for line in sys.stdin]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(Limit(sys.argv[1], blends).run())))


if __name__ == "__main__":
    main()

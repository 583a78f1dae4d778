"""The stand-in API of the benchmarks: it accepts at once, calls back at once, and serves a picture for each task.

    python -m ops.bench.upstream --announce-file FILE

No simulation (that is `ops.sandbox`) but as little work as possible, so that whoever is measured is the slower one.
It counts submissions by content: what was sent twice shows in `GET /ledger`. `POST /reset` begins anew.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import httptools
import uvloop

from jobs.net.listening import announce, url_of
from ops.bench import ports
from ops.bench.callers import Callers

SUBMIT = b"/mj/submit/blend"
LIST = b"/mj/task/list-by-condition"
PICTURES = b"/pictures/"
# Everything behind the pictures: the options, the callback's address above all.
TAIL_BYTES = 4096
_HOOK = re.compile(rb'"notifyHook": ?"([^"]+)"')
_STATE = re.compile(rb'"state": ?"([^"]*)"')
_SIDE = 16


class Api:
    """What was accepted, and what is said of it."""

    def __init__(self, url: str, callers: Callers) -> None:
        self._url = url
        self._callers = callers
        self._contents: Counter[int] = Counter()
        self._states: dict[str, str] = {}
        self._made = 0
        self._pictures = 0

    def submit(self, content: int, tail: bytes) -> bytes:
        """Accept one, and call back."""
        self._contents[content] += 1
        self._made += 1
        task_id = f"{time.time_ns()}{self._made % 1000:03}"
        if state := _STATE.search(tail):
            self._states[task_id] = state.group(1).decode()
        if hook := _HOOK.search(tail):
            self._callers.call(hook.group(1).decode(), json.dumps(self._task(task_id)).encode())
        return json.dumps({"code": 1, "description": "Submit success", "properties": {}, "result": task_id}).encode()

    def list(self, body: bytes) -> bytes:
        return json.dumps([self._task(one) for one in json.loads(body).get("ids", [])]).encode()

    def picture(self, name: bytes) -> bytes:
        self._pictures += 1
        return png(name)

    def ledger(self) -> bytes:
        facts = {
            "submissions": self._contents.total(),
            "contents": len(self._contents),
            "pictures": self._pictures,
            "callbacks": dict(self._callers.codes),
            "cpu_seconds": time.process_time(),
        }
        return json.dumps(facts).encode()

    def reset(self) -> bytes:
        self._contents.clear()
        self._callers.codes.clear()
        self._states.clear()
        self._pictures = 0
        return b"{}"

    def _task(self, task_id: str) -> dict[str, object]:
        now = time.time_ns() // 1_000_000
        return {
            "id": task_id,
            "action": "BLEND",
            "status": "SUCCESS",
            "progress": "100%",
            "state": self._states.get(task_id, ""),
            "imageUrl": f"{self._url}{PICTURES.decode()}{task_id}.png",
            "failReason": None,
            "submitTime": now,
            "startTime": now,
            "finishTime": now,
        }


class Exchange(asyncio.Protocol):
    """One connection. Of a submission only a checksum and the end are kept, however large it is."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._parser = httptools.HttpRequestParser(self)
        self._begin()

    def _begin(self) -> None:
        self._path, self._checksum, self._tail = b"", 0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_body(self, body: bytes) -> None:
        unread = self._tail + body
        self._checksum = zlib.crc32(unread[:-TAIL_BYTES], self._checksum)
        self._tail = unread[-TAIL_BYTES:]

    def on_message_complete(self) -> None:
        body = self._answer()
        kind = b"image/png" if self._path.startswith(PICTURES) else b"application/json"
        keep = self._parser.should_keep_alive()
        status = b"200 OK" if body else b"404 Not Found"
        head = b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n" % (status, kind, len(body))
        self._transport.write(head + (b"\r\n" if keep else b"connection: close\r\n\r\n") + body)
        if not keep:
            self._transport.close()
        self._begin()

    def _answer(self) -> bytes:
        if self._path == SUBMIT:
            pictures, _, options = self._tail.rpartition(b"]")
            return self._api.submit(zlib.crc32(pictures, self._checksum), options)
        if self._path.startswith(PICTURES):
            return self._api.picture(self._path)
        if self._path == LIST:
            return self._api.list(self._tail)
        if self._path == b"/ledger":
            return self._api.ledger()
        return self._api.reset() if self._path == b"/reset" else b""


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


_START = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0))
_END = _chunk(b"IDAT", zlib.compress((b"\0" + b"\x40\x80\xc0" * _SIDE) * _SIDE)) + _chunk(b"IEND", b"")


def png(name: bytes) -> bytes:
    """A picture of its own for each name: the same pixels, with the name written in."""
    return _START + _chunk(b"tEXt", b"Title\0" + name) + _END


async def _serve(announce_file: Path) -> None:
    listener = ports.listener()
    loop, callers = asyncio.get_running_loop(), Callers()
    api = Api(url_of(listener), callers)
    server = await loop.create_server(lambda: Exchange(api), sock=listener)
    announce(announce_file, url_of(listener))
    leaving = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, leaving.set)
    await leaving.wait()
    server.close()
    callers.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ops.bench.upstream", description="The stand-in API.")
    parser.add_argument("--announce-file", type=Path, required=True, help="gets the address written when it listens")
    given = parser.parse_args(arguments)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(given.announce_file))
    return 0


if __name__ == "__main__":
    sys.exit(main())

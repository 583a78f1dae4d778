"""The stand-in API of the benchmarks: it accepts at once, calls back at once, and serves a picture for each task.

    python -m ops.bench.upstream --announce-file FILE

No simulation (that is `ops.sandbox`) but as little work as possible, so that whoever is measured is the slower one.
It counts submissions by content: what was sent twice shows in `GET /ledger`. `POST /reset` begins anew. With
`--ledger FILE` the next start goes on counting.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
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
# Of tasks that somebody may still ask about: all of a million would only fill the memory.
STATES_KEPT = 10_000
# What tells contents apart whose CRC is the same, as it is for some hundred pairs in a million: the end of the last
# picture, which is another checksum.
END_BYTES = 64
_ENTRY = struct.Struct(">Q")


class Contents:
    """How often each content was submitted.

    Args:
        ledger: a file that the next start reads; None to forget.
    """

    def __init__(self, ledger: Path | None) -> None:
        self._counts: Counter[int] = Counter()
        self._file: int | None = None
        if ledger is not None:
            self._file = os.open(ledger, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            known = ledger.read_bytes()
            whole = len(known) - len(known) % _ENTRY.size  # a torn last one was never answered
            os.ftruncate(self._file, whole)
            self._counts.update(content for (content,) in _ENTRY.iter_unpack(known[:whole]))

    def add(self, content: int) -> None:
        self._counts[content] += 1
        if self._file is not None:
            os.write(self._file, _ENTRY.pack(content))

    def clear(self) -> None:
        self._counts.clear()
        if self._file is not None:
            os.ftruncate(self._file, 0)

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def submissions(self) -> int:
        return self._counts.total()


def content_of(checksum: int, end: bytes) -> int:
    """
    Args:
        checksum: of all that comes before the options.
        end: its last bytes.
    """
    return checksum << 32 | zlib.crc32(end[-END_BYTES:])


class Api:
    """What was accepted, and what is said of it."""

    def __init__(self, url: str, callers: Callers, ledger: Path | None = None) -> None:
        self._url = url
        self._callers = callers
        self._contents = Contents(ledger)
        self._states: dict[str, str] = {}
        self._made = 0
        self._pictures = 0

    def submit(self, content: int, tail: bytes) -> bytes:
        """Accept one, and call back."""
        self._contents.add(content)
        self._made += 1
        task_id = f"{time.time_ns()}{self._made % 1000:03}"
        if state := _STATE.search(tail):
            self._states[task_id] = state.group(1).decode()
            if len(self._states) > STATES_KEPT:
                del self._states[next(iter(self._states))]
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
            "submissions": self._contents.submissions,
            "contents": len(self._contents),
            "pictures": self._pictures,
            "callbacks": dict(self._callers.codes),
            "cpu_seconds": time.process_time(),
        }
        return json.dumps(facts).encode()

    def reset(self) -> bytes:
        # Who was stopped for long closes connections as soon as he goes on, and a callback on the way would be lost.
        self._callers.close()
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
            return self._api.submit(content_of(zlib.crc32(pictures, self._checksum), pictures), options)
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


async def _serve(announce_file: Path, port: int, ledger: Path | None) -> None:
    listener = ports.listener(port)
    loop, callers = asyncio.get_running_loop(), Callers()
    api = Api(url_of(listener), callers, ledger)
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
    parser.add_argument("--port", type=int, default=0, help="0 for any free one")
    parser.add_argument("--ledger", type=Path, metavar="FILE", help="what was submitted is kept here")
    given = parser.parse_args(arguments)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(given.announce_file, given.port, given.ledger))
    return 0


if __name__ == "__main__":
    sys.exit(main())

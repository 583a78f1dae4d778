"""One connection through a relay, and the ways in which it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import Coroutine
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

# A reply that is to be cut somewhere is cut within its first so many bytes.
REPLY_BYTES = 400
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Address = tuple[str, int] | Path


class Ill(Enum):
    """What is wrong with the line. The first four strike single connections, the others all of them."""

    CUT_REQUEST = auto()  # after `share` of the request; 1.0 is right behind its last byte
    CUT_LAST_BYTE = auto()  # all but the last byte of the request arrives
    LOSE_REPLY = auto()  # the request is answered, and the connection ends instead of the answer
    CUT_REPLY = auto()  # somewhere in the answer
    BLACK_HOLE = auto()  # everything waits; what was on its way arrives in the end
    HALF_OPEN = auto()  # what is connected now hears and says nothing any more, without a word
    DELAY = auto()
    REFUSE = auto()


@dataclass
class Trouble:
    """An ill of the line. `only` is what a request must contain to be struck; `count` how many are struck."""

    ill: Ill
    share: float = 0.0
    count: int = 1
    seconds: float = 0.0
    only: bytes = b""


class Connection:
    """Two sockets, and after how many bytes each way it is to break."""

    def __init__(self, near: asyncio.StreamWriter) -> None:
        self.near = near
        self.far: asyncio.StreamWriter | None = None
        self.deaf = False
        self.broken = False
        self.lingers = False
        self._trouble: Trouble | None = None
        self._up_left: int | None = None
        self._down_left: int | None = None

    @property
    def struck(self) -> bool:
        return self._up_left is not None or self._down_left is not None

    def plan(self, trouble: Trouble, chunk: bytes) -> bool:
        length = request_bytes(chunk)
        match trouble.ill:
            case Ill.CUT_REQUEST:
                self._up_left = round(trouble.share * length)
                # Some servers drop a request when its sender is gone; here it must be taken, and nobody be told.
                self.lingers = trouble.share >= 1.0
            case Ill.CUT_LAST_BYTE:
                self._up_left = length - 1
            case Ill.LOSE_REPLY:
                self._down_left = 0
            case Ill.CUT_REPLY:
                self._down_left = round(trouble.share * REPLY_BYTES)
            case _:
                return False
        self._trouble = trouble
        return True

    def spare(self, trouble: Trouble) -> None:
        """The trouble is over: what it has not broken by now stays whole."""
        if self._trouble is trouble and not self.broken:
            self._trouble = self._up_left = self._down_left = None
            self.lingers = False

    async def pass_up(self, chunk: bytes) -> None:
        assert self.far is not None  # noqa: S101  (connected before anything is read)
        if self._up_left is not None:
            chunk = chunk[: self._up_left]
            self._up_left -= len(chunk)
            self.broken = self._up_left <= 0
        self.far.write(chunk)
        await self.far.drain()
        if self.broken and not self.lingers:  # what was sent arrives: a reset would take it back
            self.far.close()

    async def pass_down(self, chunk: bytes) -> None:
        if self._down_left is not None:
            chunk = chunk[: self._down_left]
            self._down_left -= len(chunk)
            self.broken = self._down_left <= 0
        self.near.write(chunk)
        await self.near.drain()

    def reset(self) -> None:
        """End it with an RST: whoever reads or writes learns at once that it broke."""
        self.broken = True
        reset_now(self.near)
        if self.far is not None and not self.far.is_closing():
            self.far.close()

    def leave(self) -> None:
        for writer in (self.near, self.far):
            if writer is not None:
                writer.close()


def request_bytes(chunk: bytes) -> int:
    """How long the request is that begins with this chunk: an HTTP request as announced, anything else as it is."""
    head, end, _ = chunk.partition(b"\r\n\r\n")
    found = _LENGTH.search(head)
    return len(head) + len(end) + int(found[1]) if found and end else len(chunk)


async def connect(target: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(target, Path):
        return await asyncio.open_unix_connection(target)
    return await asyncio.open_connection(*target)


async def either(*works: Coroutine[Any, Any, None]) -> None:
    """Until one direction ends; then the other one ends too."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def reset_now(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        if (sock := writer.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()

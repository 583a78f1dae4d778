"""Connections: how many callers may hold one open at a port, and who makes room when there are too many.

The one that has kept us waiting the longest does, so that those who only hold connections open cannot keep out those
who call.
"""

from __future__ import annotations

import asyncio
import ipaddress
import resource
from collections import Counter, OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from jobs.limits import sender

# Files that are no connections: those to Redis above all.
OTHER_FILES = 600


class Cuttable(Protocol):
    """One connection, as far as this room is concerned."""

    def cut(self) -> None:
        """End it at once."""

    def leave(self) -> None:
        """End it once what was asked is answered."""


class Connections:
    """Those that are open now.

    Args:
        most: how many there may be.
        most_of_one: how many of one address.
        proxies: addresses and networks that many callers come from; `most_of_one` does not count for them.
        head_seconds: in so much time a connection must bring the head of its next request.
        body_seconds: and in so much its body.
        answer_seconds: in so much time a request that was read must be answered.
    """

    def __init__(
        self,
        most: int,
        most_of_one: int,
        proxies: Iterable[str] = (),
        head_seconds: float = 10.0,
        body_seconds: float = 10.0,
        answer_seconds: float = 10.0,
    ) -> None:
        self.head_seconds = head_seconds
        self.body_seconds = body_seconds
        self.answer_seconds = answer_seconds
        self._most = min(most, _raise_file_limit(most + OTHER_FILES) - OTHER_FILES)
        self._most_of_one = most_of_one
        self._proxies = [ipaddress.ip_network(one) for one in proxies]
        self._open: dict[Cuttable, str] = {}
        self._of_one: Counter[str] = Counter()
        self._waiting: OrderedDict[Cuttable, None] = OrderedDict()  # for the head of a request, the longest first
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Cuttable, address: str) -> bool:
        """Whether there is room for it; if need be, the one that has kept us waiting the longest is closed."""
        name = sender(address)
        if self._of_one[name] >= self._most_of_one and not self.is_proxy(address):
            return False
        if len(self._open) >= self._most:
            longest = next(iter(self._waiting), None)
            if longest is None:
                return False
            self.left(longest)
            longest.cut()
        self._open[connection] = name
        self._empty.clear()
        self._of_one[name] += 1
        return True

    def waits(self, connection: Cuttable) -> None:
        if connection in self._open:
            self._waiting.pop(connection, None)
            self._waiting[connection] = None

    def works(self, connection: Cuttable) -> None:
        self._waiting.pop(connection, None)

    def left(self, connection: Cuttable) -> None:
        self._waiting.pop(connection, None)
        if (name := self._open.pop(connection, None)) is not None:
            self._of_one[name] -= 1
            if not self._of_one[name]:
                del self._of_one[name]
            if not self._open:
                self._empty.set()

    async def leave(self, seconds: float) -> None:
        """End them all: those that are being answered in so much time, the others at once."""
        for connection in list(self._open):
            connection.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        for connection in list(self._open):
            connection.cut()

    def is_proxy(self, address: str) -> bool:
        """Whether many callers come from there, each named in a header."""
        try:
            return any(ipaddress.ip_address(address) in network for network in self._proxies)
        except ValueError:
            return False


def _raise_file_limit(wanted: int) -> int:
    """How many files may be open, after the limit was raised as far as needed and allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft

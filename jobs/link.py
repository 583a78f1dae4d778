"""Link: Redis for an event loop. One connection, on which many calls may be on their way at once, and no thread.

redis-py's own client for asyncio costs several times as much a call: streams, locks, a timer for each. Here a call is
one write, and its answers are taken from what comes in. URLs, errors and the wire format are redis-py's.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import hiredis
import redis
from redis.asyncio.connection import SSLConnection, parse_url
from redis.connection import DefaultParser

from jobs.server import SOCKET_TIMEOUT_SECONDS, unavailable

Command = tuple[str | bytes | int, ...]


class Link:
    """
    Args:
        url: of the server, as `connect` takes it.
    """

    def __init__(self, url: str) -> None:
        self._options: Mapping[str, Any] = dict(parse_url(url))
        self._line: _Line | None = None
        self._opening = asyncio.Lock()

    def ask(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """Send commands; the server carries them out in this order. What is asked in one moment goes in one packet.

        Returns:
            the answers, once they are there; errors of single commands stand among them. It has an exception instead,
            redis.ConnectionError or redis.TimeoutError, where they may have been carried out or not, and
            redis.AuthenticationError where the server knows no such user or password.
        """
        if self._line is None or self._line.lost:
            return asyncio.get_running_loop().create_task(self._open_and_ask(commands))
        return self._line.ask(commands)

    def close(self) -> None:
        """What was asked is still sent; no answer comes any more."""
        if self._line is not None:
            self._line.close()

    async def _open_and_ask(self, commands: Sequence[Command]) -> list[Any]:
        """The first of those that come together opens the connection for all of them."""
        async with self._opening:
            if self._line is None or self._line.lost:
                try:
                    async with asyncio.timeout(SOCKET_TIMEOUT_SECONDS):
                        self._line = await _opened(self._options)
                except TimeoutError as error:
                    raise redis.TimeoutError("no connection in time") from error
                except OSError as error:
                    raise redis.ConnectionError(str(error)) from error
        return await self._line.ask(commands)


def answers_of(asked: asyncio.Future[list[Any]]) -> list[Any]:
    """What was answered. Raises what went wrong, as `unavailable` tells it; the first error among the answers, too."""
    with unavailable():
        answers = asked.result()
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers


async def _opened(options: Mapping[str, Any]) -> _Line:
    """A line to the server that these options of a URL mean, with the user logged in."""
    loop = asyncio.get_running_loop()
    if path := options.get("path"):
        _, line = await loop.create_unix_connection(_Line, path)
    else:
        host, port = options.get("host", "localhost"), options.get("port", 6379)
        _, line = await loop.create_connection(_Line, host, port, ssl=_ssl(options))
    log_in: list[Command] = []
    if password := options.get("password"):
        log_in.append(("AUTH", options.get("username") or "default", password))
    if database := options.get("db"):
        log_in.append(("SELECT", database))
    for answer in await line.ask(log_in) if log_in else ():
        if isinstance(answer, Exception):
            line.close()
            raise answer
    return line


def _ssl(options: Mapping[str, Any]) -> Any:
    """As redis-py reads it from a `rediss` URL; None for a plain connection."""
    if options.get("connection_class") is not SSLConnection:
        return None
    given = {name: value for name, value in options.items() if name != "connection_class"}
    return SSLConnection(**given).ssl_context.get()


@dataclass(slots=True)
class _Call:
    """Commands that were sent, and their answers so far."""

    count: int
    until: float  # by the loop's clock
    done: asyncio.Future[list[Any]]
    answers: list[Any] = field(default_factory=list)


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self.lost = False
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(replyError=DefaultParser.parse_error)
        self._calls: deque[_Call] = deque()  # in the order in which they will be answered
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if (made := transport.get_extra_info("socket")) is not None and made.family != socket.AF_UNIX:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def ask(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        # Packed first: a call that cannot be sent must not wait for an answer, for it would take the next one's.
        packed = [hiredis.pack_command(one) for one in commands]  # type: ignore[arg-type]  # of any length
        done: asyncio.Future[list[Any]] = self._loop.create_future()
        if self.lost:  # as soon as it was there
            done.set_exception(redis.ConnectionError("the connection was lost before it was used"))
            return done
        call = _Call(len(commands), self._loop.time() + SOCKET_TIMEOUT_SECONDS, done)
        self._calls.append(call)
        self._transport.write(b"".join(packed))
        if self._timer is None:
            self._timer = self._loop.call_at(call.until, self._look_at_the_clock)
        return done

    def close(self) -> None:
        self.lost = True
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (answer := self._reader.gets()) is not False:
            if not self._calls:  # nobody asked: the server says why it hangs up
                self.lost = True
                self._transport.abort()
                return
            call = self._calls[0]
            call.answers.append(answer)
            if len(call.answers) == call.count:
                self._calls.popleft()
                if not call.done.done():  # else nobody waits any more
                    call.done.set_result(call.answers)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(redis.ConnectionError(f"the connection was lost ({error})"))

    def _look_at_the_clock(self) -> None:
        """One timer for all calls: set anew where it came too early."""
        self._timer = None
        if not self._calls:
            return
        if self._loop.time() < self._calls[0].until:
            self._timer = self._loop.call_at(self._calls[0].until, self._look_at_the_clock)
        else:
            self._fail(redis.TimeoutError("no answer in time"))
            self._transport.abort()

    def _fail(self, error: redis.RedisError) -> None:
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        while self._calls:
            if not (done := self._calls.popleft().done).done():
                done.set_exception(error)

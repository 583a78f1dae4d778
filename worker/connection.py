"""Connection: requests in, parsed by httptools; answers out, in their order.

A web server's connection has a deadline for idling alone: the head of a request may take for ever, and so may a body
that nobody reads. Here a connection has a deadline and a limit in every state; and a request that is no true callback
is answered where it is parsed, for a few microseconds of work, and nothing of it is kept.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from enum import Enum, auto
from typing import cast

import httptools

from jobs.net.connections import Connections
from worker import http
from worker.http import Answer, Application, Head, Later, Reader

_GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"

_log = logging.getLogger(__name__)


class _Part(Enum):
    """What a connection waits for."""

    HEAD = auto()
    BODY = auto()
    ANSWER = auto()


class Connection(asyncio.Protocol):
    """One connection.

    Args:
        connections: all of them.
        application: what answers.
    """

    def __init__(self, connections: Connections, application: Application) -> None:
        self._connections = connections
        self._application = application
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._unparsed = b""
        self._bytes = 0  # of this head, or of this body, so far
        self._in_head = True
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._reader: Reader | None = None
        self._body = bytearray()
        self._due: deque[tuple[Answer | asyncio.Future[Answer], bool]] = deque()  # in order; whether to keep it open
        self._deaf = False  # the other side does not read
        self._leaving = False
        self._waits_for = _Part.HEAD
        self._deadline = math.inf  # by the loop's clock
        self._timer: asyncio.TimerHandle | None = None

    # What asyncio tells ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._peer, self._own = (str((transport.get_extra_info(end) or ("",))[0]) for end in ("peername", "sockname"))
        if self._connections.admit(self, self._peer):
            self._wait_for(_Part.HEAD)
        else:
            self._transport.write(http.NO_ROOM.text)
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._connections.left(self)
        self._unparsed = b""
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        self._deaf = True

    def resume_writing(self) -> None:
        self._deaf = False
        self._go_on()

    def data_received(self, data: bytes) -> None:
        self._unparsed = self._unparsed + data if self._unparsed else data
        self._go_on()

    def cut(self) -> None:
        self._transport.abort()

    def leave(self) -> None:
        """Answer what was asked, then close."""
        self._leaving = True
        if not (self._due or self._reader):
            self._transport.close()

    # Parsing ---------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """One request after the other, as long as the answers are read; in pieces, so that limits are kept."""
        while self._unparsed and not (self._due or self._deaf or self._transport.is_closing()):
            piece, self._unparsed = self._unparsed[: http.MAX_HEAD_BYTES], self._unparsed[http.MAX_HEAD_BYTES :]
            self._feed(piece)
        if self._unparsed:
            self._transport.pause_reading()
        elif not self._transport.is_closing():
            self._transport.resume_reading()

    def _feed(self, piece: bytes) -> None:
        self._bytes += len(piece)
        try:
            self._parse(piece)
        except httptools.HttpParserUpgrade:
            self._leaving = True  # what follows would be no HTTP
        except httptools.HttpParserCallbackError as error:
            _log.error("a request could not be handled", exc_info=error.__context__)
            self._say(http.LATER.then_close())
        except httptools.HttpParserError:
            self._say(http.NOT_HTTP)
        self._check_size()
        self._settle(said=self._flush())

    def _parse(self, piece: bytes) -> None:
        """A callback that offers another protocol is read in this one (RFC 9110, 7.8). As the parser takes what follows
        its head for the other, a new one reads that, and before it the head again without the offer.

        Raises:
            httptools.HttpParserUpgrade: what follows is no HTTP.
        """
        while True:
            try:
                self._parser.feed_data(piece)
            except httptools.HttpParserUpgrade as end:
                if not self._offers_another_protocol():
                    raise
                again = http.post_without_offer(self._target, self._parser.get_http_version(), self._headers)
                piece = again + piece[end.args[0] :]
                self._parser = httptools.HttpRequestParser(self)
            else:
                return

    def _offers_another_protocol(self) -> bool:
        return self._parser.should_upgrade() and self._parser.get_method() == b"POST"

    def _check_size(self) -> None:
        if self._in_head and self._bytes > http.MAX_HEAD_BYTES:
            self._say(http.NOT_HTTP)
        elif self._reader and (len(self._body) > http.MAX_BODY_BYTES or self._bytes > http.MAX_FRAMED_BYTES):
            self._reader = None
            self._say(http.TOO_LARGE)
        elif not self._in_head and not self._reader and self._bytes > http.MAX_UNREAD_BYTES:
            self.cut()

    def on_message_begin(self) -> None:
        self._target, self._headers = b"", []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else it is a trailer
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._offers_another_protocol():
            return
        self._in_head, self._bytes = False, 0
        head = Head(
            self._parser.get_method(), self._target, self._headers, self._peer, self._own, self._connections.is_proxy
        )
        decided = self._application.screen(head)
        if callable(decided):
            self._reader, self._body = decided, bytearray()
            if not self._due and head.header(b"expect").lower() == b"100-continue":
                self._transport.write(_GO_ON)
        else:
            self._say(decided)

    def on_body(self, body: bytes) -> None:
        if self._reader and len(self._body) <= http.MAX_BODY_BYTES:
            self._body += body

    def on_message_complete(self) -> None:
        if self._offers_another_protocol():
            return
        self._in_head, self._bytes = True, 0
        if self._reader and len(self._body) <= http.MAX_BODY_BYTES:
            reader, self._reader = self._reader, None
            self._say(reader(bytes(self._body)))

    # Answering -------------------------------------------------------------------------------------------------

    def _say(self, said: Answer | Later) -> None:
        keep = self._parser.should_keep_alive()
        if isinstance(said, Answer):
            self._due.append((said, keep))
            return
        later = asyncio.ensure_future(said, loop=self._loop)
        self._due.append((later, keep))
        later.add_done_callback(self._answered)

    def _answered(self, _: asyncio.Future[Answer]) -> None:
        self._settle(said=self._flush())
        self._go_on()

    def _flush(self) -> bool:
        """Say what is due and known, in the order of the requests. Whether there was something to say."""
        said: list[Answer] = []
        while self._due and not self._transport.is_closing() and not (said and said[-1].closes):
            due, keep = self._due[0]
            if not isinstance(due, Answer):
                if not due.done():
                    break
                due = due.result()
            self._due.popleft()
            said.append(due if keep else due.then_close())
        if said:
            self._transport.write(b"".join([one.text for one in said]))
            if said[-1].closes:
                self._transport.close()
        return bool(said)

    def _settle(self, *, said: bool) -> None:
        """It waits for a request now, or for a body, or for the answer. Each has a deadline, from when that began."""
        if self._transport.is_closing():
            return
        if self._leaving and not (self._due or self._reader):
            self._transport.close()
            return
        waits_for = _Part.BODY if self._reader else _Part.ANSWER if self._due else _Part.HEAD
        if said or waits_for is not self._waits_for:
            self._wait_for(waits_for)

    def _wait_for(self, part: _Part) -> None:
        self._waits_for = part
        room = self._connections
        match part:
            case _Part.HEAD:
                room.waits(self)
                seconds = room.head_seconds
            case _Part.BODY:
                room.works(self)
                seconds = room.body_seconds
            case _Part.ANSWER:
                room.works(self)
                seconds = room.answer_seconds
        self._deadline = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            self._set_timer()

    def _set_timer(self) -> None:
        """One that comes too early is set anew when it comes: cheaper than a timer for each request."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._look_at_the_clock)

    def _look_at_the_clock(self) -> None:
        self._timer = None
        if self._loop.time() < self._deadline:
            self._set_timer()
        elif self._waits_for is _Part.BODY:
            self._body_too_slow()
        else:
            self.cut()

    def _body_too_slow(self) -> None:
        self._reader = None
        self._say(http.TOO_SLOW)
        self._flush()

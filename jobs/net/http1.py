"""HTTP/1.1 on a line: how a request begins, and how an answer is read (RFC 9112). httptools parses, in C."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import httptools
import httpx

from jobs.net.line import Line

# Of an answer's head; and of whatever else comes in it without being a part of its body, until a part of that comes.
MAX_HEAD_BYTES = 100 << 10
Header = tuple[bytes, bytes]

_LENGTHS = {b"content-length", b"transfer-encoding"}


def request_head(method: str, target: bytes, headers: Iterable[Header]) -> bytes:
    """All of a request but its body.

    Args:
        target: path and query, quoted.
        headers: as they are sent; `Host` is one of them, and what the body needs.

    Raises:
        httpx.LocalProtocolError: there is a line end in it. Its text does not show it: it may be a secret.
    """
    lines = [b"%s %s HTTP/1.1" % (method.encode("ascii"), target), *(b"%s: %s" % header for header in headers)]
    head = b"\r\n".join([*lines, b"", b""])
    if head.count(b"\n") > len(lines) + 1 or head.count(b"\r") > len(lines) + 1 or b" " in target:
        raise httpx.LocalProtocolError("a request's head holds a line end, or its path a space")
    return head


class Answer:
    """An answer. Its head was read when it is made; its body is, once, by `parts`.

    `headers` has them as they came, `complete` tells whether the body was read to its end. Interim answers (1xx) are
    passed over.

    Raises:
        httpx.ReadTimeout, httpx.ReadError: it does not come.
        httpx.RemoteProtocolError: what comes is no answer, or is cut; by `parts` too.
    """

    def __init__(self, line: Line) -> None:
        self.status = 0
        self.headers: list[Header] = []
        self.complete = False
        self._line = line
        self._parts: list[bytes] = []
        self._without_part = 0
        self._to_the_end = True  # of the connection: no header says where the body ends
        self._in_doubt = False  # two headers say it, and whoever stands between may have gone by the other
        self._keep = self._surplus = False
        self._parser = httptools.HttpResponseParser(self)
        # As most clients do: what gateways write is not always as it should be, and means just one thing all the same.
        self._parser.set_dangerous_leniencies(
            lenient_chunked_length=True,
            lenient_keep_alive=True,  # an interim answer that says "close" means the one that follows
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        while not self.status:
            self._read()

    def parts(self) -> Iterator[bytes]:
        while True:
            parts, self._parts = self._parts, []
            yield from parts
            if self.complete:
                return
            self._read()

    @property
    def leaves_line_open(self) -> bool:
        """Whether another request may follow on its line."""
        return self.complete and self._keep and not self._surplus and not self._in_doubt

    def _read(self) -> None:
        if came := self._line.receive():
            self._feed(came)
        elif self.status and self._to_the_end:
            self.complete = True
        else:
            raise httpx.RemoteProtocolError("closed before the answer was complete")
        if self.complete:
            del self._parser  # it knows us, so both would wait for the search for garbage

    def _feed(self, came: bytes) -> None:
        self._without_part += len(came)
        try:
            self._parser.feed_data(came)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._surplus = True
            if not self.complete:
                raise httpx.RemoteProtocolError(f"the answer is not HTTP/1.1, or no longer: {error}") from error
        if self._without_part > MAX_HEAD_BYTES:
            raise httpx.RemoteProtocolError("too much before the body of the answer, or in between")

    # Called by the parser -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._surplus = self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:  # else a trailer, or of an answer that nobody asked for
            self.headers.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self.complete:
            return
        if status < 200:
            self.headers.clear()
            return
        said = {name.lower() for name, _ in self.headers} & _LENGTHS
        self._to_the_end, self._in_doubt = not said, said == _LENGTHS
        self.status = status

    def on_body(self, part: bytes) -> None:
        if self.status and not self.complete:  # an interim answer has none, whatever its head says
            self._parts.append(part)
            self._without_part = 0

    def on_message_complete(self) -> None:
        if self.status and not self.complete:
            self.complete, self._keep = True, self._parser.should_keep_alive()

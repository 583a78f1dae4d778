"""HTTP as the receiver speaks it: the head of a request, and the few answers that are ever given. None has a body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

MAX_HEAD_BYTES = 8 * 1024
MAX_HEADERS = 64
MAX_BODY_BYTES = 256 * 1024
# After an answer, so much of a body that nobody reads is thrown away; then the connection is closed.
MAX_UNREAD_BYTES = 256 * 1024
# A body's own bytes may come in chunks, and chunks have a frame.
MAX_FRAMED_BYTES = 2 * MAX_BODY_BYTES


@dataclass(frozen=True)
class Answer:
    """One of the few things that are ever said: the bytes, and whether the connection ends with them."""

    text: bytes
    closes: bool = False

    def then_close(self) -> Answer:
        """The same where the caller wants no further answers."""
        return self if self.closes else Answer(self.text.replace(b"\r\n", b"\r\nconnection: close\r\n", 1), closes=True)


def answer(status: str, *headers: str, closes: bool = False) -> Answer:
    lines = [f"HTTP/1.1 {status}", *(["connection: close"] if closes else []), *headers, "content-length: 0", "", ""]
    return Answer("\r\n".join(lines).encode(), closes)


OK = answer("200 OK")
NO_TASK = answer("400 Bad Request", closes=True)
NOT_HTTP = NO_TASK
NOT_FOUND = answer("404 Not Found")
TOO_SLOW = answer("408 Request Timeout", closes=True)
TOO_LARGE = answer("413 Content Too Large", closes=True)
TOO_OFTEN = answer("429 Too Many Requests")
GO_AWAY = answer("429 Too Many Requests", closes=True)
LATER = answer("503 Service Unavailable", "retry-after: 1")
NO_ROOM = answer("503 Service Unavailable", "retry-after: 1", closes=True)


def post_without_offer(target: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head of a POST as it came, but for the offer to go on in another protocol."""
    start = b"POST %s HTTP/%s" % (target, version.encode("ascii"))
    return b"\r\n".join([start, *(b"%s: %s" % one for one in headers if one[0].lower() != b"upgrade"), b"", b""])


@dataclass(slots=True)
class Head:
    """The head of a request.

    `peer` and `own` are the addresses at the two ends of its connection; `caller` is who asks: the peer, or whom it
    names if it is a proxy of ours.
    """

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    peer: str
    own: str
    is_proxy: Callable[[str], bool]

    @property
    def caller(self) -> str:
        """The last in the header whom no proxy of ours goes by: whatever stands before was written by the caller."""
        if not self.is_proxy(self.peer):
            return self.peer
        named = [one.strip() for one in self.header(b"x-forwarded-for").decode("latin-1").split(",")]
        return next((one for one in reversed(named) if one and not self.is_proxy(one)), named[0] or self.peer)

    def header(self, name: bytes) -> bytes:
        """All values of that name (in lower case), as one list."""
        return b", ".join([value for key, value in self.headers if key.lower() == name])


Later = Awaitable[Answer]
Reader = Callable[[bytes], Answer | Later]


class Application(Protocol):
    """What answers."""

    def screen(self, head: Head) -> Answer | Later | Reader:
        """Decide by the head alone: the answer, or one that takes time, or who is to read the body for it."""

"""Requests' heads and answers, as they stand on the wire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import httpx
import pytest

from jobs.net.http1 import MAX_HEAD_BYTES, Answer, request_head
from jobs.net.line import Line


class Came:
    """A line on which this comes, and then its end."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    def receive(self) -> bytes:
        return next(self._pieces, b"")


def answer(pieces: Iterable[bytes]) -> Answer:
    return Answer(cast("Line", Came(pieces)))


OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 4\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"1\r\nb\r\n3\r\nody\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("wire", "open_after"),
    [
        (OK + LENGTH + b"\r\nbody", True),
        (OK + LENGTH + b"Connection: close\r\n\r\nbody", False),
        (OK + CHUNKED + b"\r\n" + CHUNKS, True),
        (OK + CHUNKED + b"\r\n" + CHUNKS[:-2] + b"Digest: x\r\n\r\n", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK + LENGTH + b"\r\nbody", True),
        (b"HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n" + OK + LENGTH + b"\r\nbody", True),
        (b"HTTP/1.0 100 Continue\r\n\r\n" + OK + LENGTH + b"Connection: close\r\n\r\nbody", False),
        (OK + b"\r\nbody", False),
        (b"HTTP/1.0 200 OK\r\n\r\nbody", False),
        # Not as it should be, and means just one thing all the same.
        (OK + CHUNKED + b"\r\n4  \r\nbody\r\n0\r\n\r\n", True),
        (OK.replace(b"\r", b"") + b"Content-Length: 4\n\nbody", True),
        (OK + b"X-Words: \xe9\x98\x9f\r\n" + LENGTH + b"\r\nbody", True),
        # Its length is said twice, and whoever stands between may have gone by the other.
        (OK + LENGTH + CHUNKED + b"\r\n" + CHUNKS, False),
        # More than was asked for: what comes next on this line would be taken for another request's answer.
        (OK + LENGTH + b"\r\nbody" + OK + LENGTH + b"\r\nmore", False),
        (OK + LENGTH + b"\r\nbodyand more", False),
        (OK + LENGTH + b"Connection: close\r\n\r\nbodyand more", False),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_whole_answers(wire: bytes, open_after: bool, at_once: bool) -> None:
    read = answer([wire] if at_once else (bytes([byte]) for byte in wire))
    assert (read.status, b"".join(read.parts())) == (200, b"body")
    assert read.complete
    if at_once:
        assert read.leaves_line_open is open_after


def test_what_stands_around_a_headers_value_is_no_part_of_it() -> None:
    assert answer([OK + b"A:b\r\nC: \t d e \t\r\nF: \r\n\r\n"]).headers == [(b"A", b"b"), (b"C", b"d e"), (b"F", b"")]


@pytest.mark.parametrize("status", [b"000", b"099", b"199"])
def test_the_body_of_an_interim_answer_is_no_part_of_the_answer(status: bytes) -> None:
    interim = b"HTTP/1.1 " + status + b" Odd\r\n" + LENGTH + b"\r\nevil"
    assert b"".join(answer([interim + OK + LENGTH + b"\r\nbody"]).parts()) == b"body"


def test_what_nobody_asked_for_changes_nothing() -> None:
    for more in (
        OK + b"X: more\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n",
        b"odd",
    ):
        read = answer([OK + LENGTH + b"\r\nbody" + more])
        assert b"".join(read.parts()) == b"body"
        assert (read.status, read.headers, read.leaves_line_open) == (200, [(b"Content-Length", b"4")], False)


@pytest.mark.parametrize(
    "wire",
    [
        *(b"", b"HTTP/1.1 2", OK, OK + LENGTH + b"\r\nbod", OK + CHUNKED + b"\r\n" + CHUNKS[:-2]),
        *(b"SSH-2.0-OpenSSH\r\n\r\n", OK + CHUNKED + b"\r\nzz\r\n", OK + b"Content-Length: 4, 5\r\n\r\nbody"),
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\nbody",
    ],
)
def test_what_is_no_whole_answer(wire: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        list(answer([wire]).parts())


@pytest.mark.parametrize(
    ("before", "again"),
    [
        (OK + b"X: ", b"x" * 1000),
        (OK, b"X: x\r\n" * 100),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\n\r\n"),
        (b"HTTP/1.1 199 Odd\r\nContent-Length: 1000000000\r\n\r\n", b"x" * 1000),
        (OK + CHUNKED + b"\r\n1\r\nx\r\n0\r\nX: ", b"x" * 1000),
        (OK + CHUNKED + b"\r\n1;", b"x" * 1000),
    ],
    ids=["header", "headers", "interim answers", "body of an interim answer", "trailer", "chunk's extension"],
)
def test_nothing_but_a_body_is_read_without_end(before: bytes, again: bytes) -> None:
    read = 0

    def pieces() -> Iterable[bytes]:
        nonlocal read
        yield before
        while True:
            read += len(again)
            yield again

    with pytest.raises(httpx.RemoteProtocolError, match="too much"):
        list(answer(pieces()).parts())
    assert read <= MAX_HEAD_BYTES + len(again)


def test_a_requests_head() -> None:
    head = request_head("GET", b"/a?b", [(b"Host", b"h"), (b"X", b"y")])
    assert head == b"GET /a?b HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n"


@pytest.mark.parametrize("odd", [b"k\r\nX: y", b"k\n", b"\rk"])
def test_no_header_and_no_path_can_be_two(odd: bytes) -> None:
    for target, value in ((b"/", odd), (b"/" + odd, b"v"), (b"/ HTTP/1.1", b"k")):
        with pytest.raises(httpx.LocalProtocolError, match=r"^a request's head holds a line end, or its path a space$"):
            request_head("GET", target, [(b"Key", value)])

"""ProxyClient when something breaks after the last byte: unsure, unless the answer proves a refusal (I2)."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest

from tests.integration.misbehaving import (
    ACCEPTED,
    SHORT,
    THEN,
    WAIT_SECONDS,
    Commit,
    Connection,
    Play,
    Stage,
    take,
)
from worker.proxy.answers import Accepted, Refusal, Refused, Unsure
from worker.proxy.client import MAX_ANSWER_BYTES, Timeouts
from worker.proxy.lookups import CannotTell


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(stack, tmp_path)


# It fails after the commit.


def after_the_last_byte(answer: bytes, end: Callable[[Connection], None]) -> Play:
    def part(connection: Connection) -> None:
        connection.read_head()
        connection.read_body()
        connection.send(answer)
        end(connection)

    return part


WHOLE = json.dumps(ACCEPTED).encode()
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + WHOLE


@pytest.mark.parametrize("end", [Connection.reset, THEN["close"], Connection.hold], ids=["reset", "close", "hold"])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 20",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
        CUT,
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"cod',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 413 Too Large\r\nContent-Length: 500\r\n\r\nx",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 200_000,
    ],
)
def test_a_break_after_the_last_byte_is_unsure(stage: Stage, answer: bytes, end: Callable[[Connection], None]) -> None:
    """I2."""
    server, commit = stage.server(after_the_last_byte(answer, end)), Commit()
    assert isinstance(stage.client(server.url).submit(stage.body(), commit), Unsure)
    assert commit.calls == 1
    assert len(server.connections) == 1


def test_a_cut_answer_whose_status_refuses_is_a_refusal(stage: Stage) -> None:
    part = after_the_last_byte(b"HTTP/1.1 401 No\r\nContent-Length: 500\r\n\r\nx", THEN["close"])
    verdict = stage.client(stage.server(part).url).submit(stage.body(), Commit())
    assert isinstance(verdict, Refused)
    assert verdict.kind is Refusal.KEY


DRIPS = {
    "status line": (b"", b"H"),
    "headers": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "interim answers": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}


@pytest.mark.parametrize("what", DRIPS)
def test_a_dripping_answer_ends_at_the_deadline(stage: Stage, what: str) -> None:
    start, byte = DRIPS[what]
    server = stage.server(after_the_last_byte(start, lambda connection: connection.drip(byte)))
    client, begin = stage.client(server.url), monotonic()
    assert isinstance(client.submit(stage.body(), Commit()), Unsure)
    assert isinstance(client.fetch("7"), CannotTell)
    assert monotonic() - begin < 2 * SHORT.answer + 1


def endless(connection: Connection) -> None:
    connection.read_head()
    connection.read_body()
    connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while connection.send(b" " * 65536):
        connection.body += b"+"


@pytest.mark.parametrize("part", [endless, take(b" " * (MAX_ANSWER_BYTES + 1))])
def test_a_huge_answer_is_cut_and_unsure(stage: Stage, part: Play) -> None:
    timeouts = Timeouts(answer=WAIT_SECONDS)
    verdict = stage.client(stage.server(part).url, timeouts=timeouts).submit(stage.body(), Commit())
    assert isinstance(verdict, Unsure)
    assert "size limit" in verdict.message


def test_a_packed_bomb_is_not_unpacked(stage: Stage) -> None:
    bomb = gzip.compress(WHOLE + b" " * (64 << 20))
    assert len(bomb) < MAX_ANSWER_BYTES
    client = stage.client(stage.server(take(bomb, 200, "Content-Encoding: gzip")).url, timeouts=Timeouts())
    body = stage.body()
    tracemalloc.start()
    try:
        assert isinstance(client.submit(body, Commit()), Unsure)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 16 * MAX_ANSWER_BYTES


def test_an_answer_of_just_the_limit_is_read(stage: Stage) -> None:
    server = stage.server(take(json.dumps(ACCEPTED).encode().ljust(MAX_ANSWER_BYTES)))
    assert isinstance(stage.client(server.url).submit(stage.body(), Commit()), Accepted)


@pytest.mark.parametrize(
    ("packing", "data", "expected"),
    [
        ("gzip", gzip.compress(WHOLE, mtime=0), Accepted),
        ("identity", WHOLE, Accepted),
        ("gzip", gzip.compress(WHOLE, mtime=0)[:-9], Unsure),
        ("gzip", WHOLE, Unsure),
        ("br", WHOLE, Unsure),
        ("gzip, gzip", gzip.compress(gzip.compress(WHOLE, mtime=0), mtime=0), Unsure),
    ],
)
def test_packed_answers(stage: Stage, packing: str, data: bytes, expected: type) -> None:
    server = stage.server(take(data, 200, f"Content-Encoding: {packing}"))
    assert type(stage.client(server.url).submit(stage.body(), Commit())) is expected

"""The receiver and what HTTP allows: pipelines, expectations, upgrades, chunks, trailers."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest

from jobs.keys import Keys
from jobs.net.connections import Connections
from jobs.settings import Settings
from tests.integration.attacking import PROMPT_SECONDS, Listen, SlowStore, ask, code, head
from tests.integration.listening import everything, listening, task
from tests.integration.workbench import wait_for
from worker.connection import Connection
from worker.http import (
    MAX_FRAMED_BYTES,
    MAX_HEAD_BYTES,
    Head,
    Reader,
)

# What HTTP allows ----------------------------------------------------------------------------------------------------


def test_requests_that_come_at_once_are_answered_in_order(listen: Listen) -> None:
    """The forged ones at no cost, the true one when it is durable: the order is that of the requests."""
    receiver = listen()
    body = json.dumps(task()).encode()
    true, forged = head(receiver.path(), length=len(body)) + body, head("/forged", length=0)
    with receiver.connect() as connection:
        connection.sendall(forged + true + forged + true + head("/", "Connection: close", length=0))
        answers = everything(connection).split(b"\r\n\r\n")[:-1]
    assert list(map(code, answers)) == [404, 200, 404, 200, 404]
    assert b"connection: close" in answers[-1]


def test_a_caller_that_asks_before_it_sends_a_body(listen: Listen) -> None:
    receiver = listen()
    body = json.dumps(task()).encode()
    with receiver.connect() as connection:
        connection.sendall(head(receiver.path(), "Expect: 100-continue", "Connection: close", length=len(body)))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert code(everything(connection)) == 200
    assert code(ask(receiver, head("/forged", "Expect: 100-continue"))) == 404, "a stranger need not send it"


@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_a_caller_that_wants_to_speak_something_else_is_let_go(listen: Listen, method: str) -> None:
    receiver = listen()
    with receiver.connect() as connection:
        connection.sendall(head("/", "Upgrade: websocket", "Connection: Upgrade", method=method, length=0))
        began = time.monotonic()
        assert code(everything(connection)) == 404
        assert time.monotonic() - began < PROMPT_SECONDS


OFFER = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA")


@pytest.mark.parametrize("pieces", ["at once", "body later", "bytes"])
def test_a_callback_that_offers_another_protocol_is_taken_in_this_one(listen: Listen, pieces: str) -> None:
    """As Java's HttpClient does with whatever it sends over http."""
    receiver = listen()
    body = json.dumps(task()).encode()
    one = head(receiver.path(), *OFFER, length=len(body)) + body
    chunked = one.replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked")
    chunked = chunked[: -len(body)] + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    whole = one + chunked + one + head("/", "Connection: close", length=0)
    cuts = {"at once": [], "body later": [len(one) - len(body)], "bytes": range(1, len(whole))}[pieces]
    with receiver.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in pairwise([0, *cuts, len(whole)]):
            connection.sendall(whole[start:end])
        answers = everything(connection).split(b"\r\n\r\n")[:-1]
    assert list(map(code, answers)) == [200, 200, 200, 404]


def test_a_callback_in_the_smallest_chunks(listen: Listen) -> None:
    receiver = listen()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in json.dumps(task()).encode())
    start = f"POST {receiver.path()} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert code(ask(receiver, start + chunks + b"0\r\n\r\n")) == 200


def test_chunks_that_are_all_frame(listen: Listen) -> None:
    """Their extensions and trailers are part of no body, and could go on for ever."""
    receiver = listen()
    start = f"POST {receiver.path()} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    for frame in (
        b"1;" + b"x" * MAX_FRAMED_BYTES,
        b"0\r\nX: " + b"x" * MAX_FRAMED_BYTES,
        b"0\r\n" + b"X: 1\r\n" * 10**5,
    ):
        with receiver.connect() as connection:
            try:
                connection.sendall(start + frame + b"x" * MAX_HEAD_BYTES)
            except OSError:
                continue  # it had enough before the end
            assert everything(connection)[:12] in (b"HTTP/1.1 413", b"HTTP/1.1 400", b"")
    assert receiver.call(task()) == 200


def test_trailers_are_not_kept() -> None:
    heads: list[Head] = []

    class Silent(asyncio.Transport):
        def is_closing(self) -> bool:
            return False

        def resume_reading(self) -> None:
            pass

    class Screened:
        def screen(self, one: Head) -> Reader:
            heads.append(one)
            return cast("Reader", lambda _: None)

    async def feed() -> None:
        connection = Connection(Connections(1, 1), Screened())
        connection.connection_made(Silent())
        connection.data_received(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: 1\r\n" * 1000)
        connection.connection_lost(None)

    asyncio.run(feed())
    assert [len(one.headers) for one in heads] == [1]


def test_a_callback_that_is_being_written_is_answered_before_the_receiver_leaves(
    redis_url: str, keys: Keys, tmp_path: Path
) -> None:
    settings = Settings.load({}, data_dir=tmp_path, redis_url=redis_url, receiver_port=0)
    store = SlowStore(redis_url, keys)
    store.let.set()
    with ExitStack() as stack:
        receiver = stack.enter_context(listening(settings, keys, store=store))
        receiver.add()
        store.let.clear()
        body = json.dumps(task()).encode()
        asking, idle = (stack.enter_context(receiver.connect()) for _ in range(2))
        before = len(store.batches)
        asking.sendall(head(receiver.path(), length=len(body)) + body)
        wait_for(lambda: len(store.batches) > before, lambda: "it is not written")
        receiver.leave()
        assert everything(idle) == b"", "who asks nothing is let go"
        store.let.set()
        assert code(everything(asking)) == 200

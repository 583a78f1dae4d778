"""The HTTP API and callers who are slow: none holds a connection for ever, and none keeps others out."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import time
from collections.abc import Iterator

import pytest
import uvicorn
from uvicorn.server import ServerState

from jobs.net.connections import Connections
from jobs.settings import Settings
from producer.api import connection
from producer.api.connection import Connection
from tests.integration.service import Service, serving

MOST = 8
DEADLINE_SECONDS = 60.0
HEAD = b"Host: 127.0.0.1\r\nContent-Length: 1000\r\nContent-Type: "


@pytest.fixture(scope="module")
def service(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    limits = {"HEAD_SECONDS": "1", "BODY_SECONDS": "0.5", "CONNECTIONS": str(MOST)}
    folder = tmp_path_factory.mktemp("api")
    with serving(stack, folder, **{f"BLENDQ_SERVICE_{name}": value for name, value in limits.items()}) as made:
        yield made


@contextlib.contextmanager
def calling(service: Service) -> Iterator[socket.socket]:
    host, _, port = service.url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port))) as caller:
        yield caller


def told(caller: socket.socket, drip: bytes = b"") -> bytes:
    """What comes until the other side ends the connection; meanwhile something is sent, again and again."""
    came, give_up_at = b"", time.monotonic() + DEADLINE_SECONDS
    with contextlib.suppress(ConnectionError):  # which is an end too
        while time.monotonic() < give_up_at:
            if drip:
                caller.sendall(drip)
            if select.select([caller], [], [], 0.05)[0]:
                if not (piece := caller.recv(65536)):
                    return came
                came += piece
        pytest.fail(f"the connection is still open; {came!r} came")
    return came


@pytest.mark.parametrize("begun", [b"", b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "])
def test_a_head_that_comes_slowly_or_never(service: Service, begun: bytes) -> None:
    with calling(service) as caller:
        caller.sendall(begun)
        assert told(caller, begun and b"x") == b""


def test_the_next_head_is_due_too_and_whoever_asks_again_in_time_stays(service: Service) -> None:
    with calling(service) as caller:
        for _ in range(3):
            caller.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            came = b""
            while not came.endswith(b"ok\n"):
                came += caller.recv(65536)
        caller.sendall(b"GET /livez HTTP/1.1\r\n")
        assert told(caller, b"X: y\r\n") == b""


def test_a_body_that_comes_slowly_is_told_so_and_not_waited_for(service: Service) -> None:
    with calling(service) as caller:
        caller.sendall(b"POST /v1/jobs HTTP/1.1\r\n" + HEAD + b"application/json\r\n\r\n")
        came = told(caller, b" ")
    assert came.startswith(b"HTTP/1.1 408 ")
    assert b"the body did not come within 0.5 s" in came


@pytest.mark.parametrize("drip", [b" ", b"\n"])
def test_a_batch_without_lines_ends_without_its_end(service: Service, drip: bytes) -> None:
    with calling(service) as caller:
        caller.sendall(b"POST /v1/jobs:batch HTTP/1.1\r\n" + HEAD + b"application/x-ndjson\r\n\r\n")
        came = told(caller, drip)
    assert came.startswith(b"HTTP/1.1 200 ")
    assert b"0\r\n\r\n" not in came, "by which the caller sees that it is incomplete"


def test_those_who_hold_connections_open_keep_nobody_out(service: Service) -> None:
    with contextlib.ExitStack() as others:
        idle = [others.enter_context(calling(service)) for _ in range(2 * MOST)]
        with calling(service) as caller:
            caller.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            answer = told(caller)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert told(idle[0]) == b""


def test_when_all_of_them_are_at_work_the_next_one_is_told_so() -> None:
    """In this process: none of them waits for a head, so none can make room."""

    async def refused() -> bytes:
        room = Connections(1, 2)
        ours, theirs = _pair()
        first = await _connected(room, ours)
        room.works(first)
        more, there = _pair()
        await _connected(room, more)
        told = await asyncio.get_running_loop().sock_recv(there, 1000)
        first.cut()
        theirs.close()
        there.close()
        return told

    assert asyncio.run(refused()).startswith(b"HTTP/1.1 503 ")


def test_whoever_does_not_read_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "UNREAD_SECONDS", 0.01)

    async def cut() -> None:
        ours, theirs = _pair()
        one = await _connected(Connections(1, 1), ours)
        one.pause_writing()
        one.resume_writing()
        one.pause_writing()
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await asyncio.get_running_loop().sock_recv(theirs, 1) == b""
        theirs.close()

    asyncio.run(cut())


def _pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    return ours, theirs


async def _connected(room: Connections, ours: socket.socket) -> Connection:
    config = uvicorn.Config(lambda: None, log_config=None)
    config.load()
    _, one = await asyncio.get_running_loop().connect_accepted_socket(
        lambda: Connection(config, ServerState(), {}, room=room), ours
    )
    return one

"""The relay of the fault runs: what it breaks, it breaks at exactly the byte it was told."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ops.chaos.relay import Relay, RelayThread
from ops.chaos.wire import Ill, Trouble, request_bytes

PATIENCE_SECONDS = 5.0
BODY = b"x" * 100_000


class _Far:
    """An HTTP server that keeps what arrived, whole or not, and a signal for each end of a request."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.arrived = threading.Semaphore(0)
        far = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                far.bodies.append(self.rfile.read(length))
                far.arrived.release()
                if len(far.bodies[-1]) == length:
                    self.send_response(200)
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"ok")

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.server.server_port

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def far() -> Iterator[_Far]:
    made = _Far()
    yield made
    made.close()


@pytest.fixture
def relay(far: _Far) -> Iterator[Relay]:
    thread = RelayThread()
    made = Relay(thread, far.address)
    yield made
    made.close()
    thread.close()


def post(relay: Relay, path: str = "/mj/submit/blend") -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("POST", path, BODY)
        return connection.getresponse().read()
    finally:
        connection.close()


def fails(relay: Relay) -> None:
    with pytest.raises((OSError, http.client.HTTPException)):
        post(relay)


def test_it_passes_everything_on(relay: Relay, far: _Far) -> None:
    assert post(relay) == b"ok"
    assert far.bodies == [BODY]


def test_the_last_byte_is_held_back(relay: Relay, far: _Far) -> None:
    relay.strike(Trouble(Ill.CUT_LAST_BYTE))
    fails(relay)
    assert far.arrived.acquire(timeout=PATIENCE_SECONDS)
    assert far.bodies == [BODY[:-1]]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_an_upload_is_cut_where_the_fault_says(relay: Relay, far: _Far, share: float) -> None:
    relay.strike(Trouble(Ill.CUT_REQUEST, share=share))
    fails(relay)
    assert far.arrived.acquire(timeout=PATIENCE_SECONDS)
    assert 0 <= share * len(BODY) - len(far.bodies[0]) < 500, "the head counts as part of the request"


def test_a_cut_right_behind_the_last_byte_lets_all_of_it_through(relay: Relay, far: _Far) -> None:
    relay.strike(Trouble(Ill.CUT_REQUEST, share=1.0))
    fails(relay)
    assert far.arrived.acquire(timeout=PATIENCE_SECONDS)
    assert far.bodies == [BODY]


def test_an_answer_is_lost_after_the_request_was_taken(relay: Relay, far: _Far) -> None:
    relay.strike(Trouble(Ill.LOSE_REPLY))
    fails(relay)
    assert far.bodies == [BODY]


def test_only_what_the_trouble_is_about_is_struck_and_only_so_often(relay: Relay) -> None:
    relay.strike(Trouble(Ill.LOSE_REPLY, count=1, only=b"POST /mj/submit"))
    assert post(relay, "/mj/task/list-by-condition") == b"ok"
    fails(relay)
    assert post(relay) == b"ok"


def test_a_trouble_that_is_over_breaks_nothing_later_on_the_same_connection(relay: Relay) -> None:
    trouble = Trouble(Ill.CUT_REPLY, share=0.9)  # behind the end of the first, short reply
    relay.strike(trouble)
    connection = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=PATIENCE_SECONDS)
    connection.request("POST", "/", BODY)
    assert connection.getresponse().read() == b"ok"
    assert trouble.count == 0, "it was struck"
    relay.relieve(trouble)
    for _ in range(5):
        connection.request("POST", "/", BODY)
        assert connection.getresponse().read() == b"ok"
    connection.close()


def test_what_a_black_hole_held_arrives_in_the_end(relay: Relay, far: _Far) -> None:
    hole = Trouble(Ill.BLACK_HOLE)
    relay.strike(hole)
    with socket.create_connection(("127.0.0.1", relay.port), timeout=PATIENCE_SECONDS) as link:
        link.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
        assert not far.arrived.acquire(timeout=0.2)
        relay.relieve(hole)
        assert far.arrived.acquire(timeout=PATIENCE_SECONDS)
        assert link.recv(100).startswith(b"HTTP/1.")


def test_a_half_open_connection_says_nothing_until_it_is_healed(relay: Relay, far: _Far) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=PATIENCE_SECONDS)
    connection.request("POST", "/", b"hi")
    assert connection.getresponse().read() == b"ok"
    half = Trouble(Ill.HALF_OPEN)
    relay.strike(half)
    link = connection.sock
    link.settimeout(0.3)
    connection.request("POST", "/", b"hi")
    with pytest.raises(TimeoutError):
        link.recv(100)
    relay.relieve(half)
    link.settimeout(PATIENCE_SECONDS)
    with pytest.raises(ConnectionError):
        link.recv(100)
    connection.close()
    assert len(far.bodies) == 1


def test_a_refusing_relay_ends_what_there_is_and_takes_nothing_new(relay: Relay) -> None:
    refusal = Trouble(Ill.REFUSE)
    relay.strike(refusal)
    fails(relay)
    relay.relieve(refusal)
    assert post(relay) == b"ok"


def test_the_length_of_a_request_is_read_from_its_head() -> None:
    assert request_bytes(b"POST / HTTP/1.1\r\nHost: x\r\ncontent-length: 10\r\n\r\nabc") == 48 + 10
    assert request_bytes(b"*1\r\n$4\r\nPING\r\n") == 14

"""Lines: every wait ends in time, with TLS as without; and TLS only with whom the name says."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic

import httpx
import pytest

from jobs.net.http1 import Answer, request_head
from jobs.net.line import Line, Waits, first_connected, tls_context
from tests.integration.misbehaving import WAIT_SECONDS, Connection, Play, Server, take

PEM = Path(__file__).with_name("api.example.pem")
NAME = "api.example"
SHORT = 0.3

Dial = Callable[..., Line]


def in_secret(play: Play) -> Play:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)

    def part(connection: Connection) -> None:
        connection.sock = context.wrap_socket(connection.sock, server_side=True)
        play(connection)

    return part


@pytest.fixture
def dial() -> Iterator[Dial]:
    """A line to a server that plays a part; with TLS, to a name."""
    with ExitStack() as stack:

        def run(play: Play, tls: bool, seconds: float = WAIT_SECONDS) -> Line:
            server = Server(in_secret(play) if tls else play)
            stack.callback(server.close)
            address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
            line = Line(socket.AF_INET, address, Waits(seconds, seconds, seconds), lambda own: own)
            stack.callback(line.close)
            if tls:
                line.start_tls(trusting(), NAME)
            return line

        yield run


def trusting() -> ssl.SSLContext:
    context = tls_context()
    context.load_verify_locations(PEM)
    return context


@pytest.mark.parametrize("tls", [True, False])
def test_an_exchange(dial: Dial, tls: bool) -> None:
    sent, told = b"x" * 3_000_000, b"y" * 3_000_000
    line = dial(take(told), tls)
    line.send(request_head("POST", b"/", [(b"Content-Length", str(len(sent)).encode())]) + sent)
    assert b"".join(Answer(line).parts()) == told
    assert line.receive() == b""
    assert line.is_readable()


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_every_wait_ends_in_time(dial: Dial, tls: bool, own: bool) -> None:
    """By the wait's own bound, and by that of the whole call."""
    line = dial(Connection.hold, tls, SHORT if own and not tls else WAIT_SECONDS)
    line.limit = lambda seconds: min(seconds, SHORT)
    began = monotonic()
    with pytest.raises(httpx.ReadTimeout):
        line.receive()
    with pytest.raises(httpx.WriteTimeout):
        line.send(b"x" * (64 << 20))
    assert 1.9 * SHORT < monotonic() - began < WAIT_SECONDS / 2
    line.limit = lambda seconds: 0.0
    with pytest.raises(httpx.ReadTimeout, match="the whole call is over"):
        line.receive()
    with pytest.raises(httpx.WriteTimeout, match="the whole call is over"):
        line.send(b"x")


def test_a_handshake_ends_in_time(dial: Dial) -> None:
    line = dial(Connection.hold, False)
    line.limit = lambda seconds: min(seconds, SHORT)
    began = monotonic()
    with pytest.raises(httpx.ConnectTimeout):
        line.start_tls(trusting(), NAME)
    assert monotonic() - began < WAIT_SECONDS / 2


@pytest.mark.parametrize(
    ("context", "name"), [(trusting, "other.example"), (trusting, "127.0.0.1"), (tls_context, NAME)]
)
def test_whoever_is_somebody_else_is_told_nothing(dial: Dial, context: Callable[[], ssl.SSLContext], name: str) -> None:
    def handshake(connection: Connection) -> None:
        with suppress(ssl.SSLError, ConnectionError):
            in_secret(take())(connection)

    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        dial(handshake, False).start_tls(context(), name)


@pytest.mark.parametrize("tls", [True, False])
def test_an_answer_before_the_request_was_taken(dial: Dial, tls: bool) -> None:
    line = dial(lambda connection: (connection.answer(b"no", 413), connection.hold())[1], tls)
    line.limit = lambda seconds: min(seconds, SHORT)
    with pytest.raises(httpx.WriteError, match="answered before"):
        line.send(b"x" * (64 << 20))
    answer = Answer(line)
    assert (answer.status, b"".join(answer.parts())) == (413, b"no")


@pytest.mark.parametrize("tls", [True, False])
def test_one_that_takes_no_more_and_says_nothing_has_not_answered(dial: Dial, tls: bool) -> None:
    """What comes with TLS after the handshake, tickets for later sessions, is no answer."""
    line = dial(Connection.hold, tls)
    line.limit = lambda seconds: min(seconds, SHORT)
    with pytest.raises(httpx.WriteTimeout):
        line.send(b"x" * (64 << 20))


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with pytest.raises(httpx.ConnectError):
        Line(socket.AF_INET, address, Waits(1, 1, 1), lambda own: own)
    with pytest.raises(httpx.ConnectTimeout, match="the whole call is over"):
        Line(socket.AF_INET, address, Waits(1, 1, 1), lambda own: 0.0)


def test_no_socket_is_no_connection() -> None:
    """Of a family that this kernel has not, as IPv6 where it is off; or with all files open that may be."""
    no_family = 9999
    with socket.create_server(("127.0.0.1", 0)) as listener:
        places = [(no_family, "nowhere"), (socket.AF_INET, listener.getsockname())]

        def connect(place: tuple[int, object]) -> Line:
            return Line(*place, Waits(1, 1, 1), lambda own: own)

        first_connected(places, connect).close()
        with pytest.raises(httpx.ConnectError, match="not supported"):
            first_connected(places[:1], connect)

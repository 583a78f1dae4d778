"""ProxyClient when something breaks before the last byte: not sent, or refused; never unsure (I2, I3)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import httpx
import pytest

from jobs.errors import PictureMissing
from tests.integration.misbehaving import ACCEPTED, BIG_BYTES, THEN, Commit, Connection, Play, Stage, take
from worker.proxy.answers import Accepted, NotSent, Refusal, Refused
from worker.proxy.client import Timeouts
from worker.proxy.lookups import CannotTell


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(stack, tmp_path)


# It fails before the commit.


def after_nothing(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def refused_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("url", ["refused", "http://a..b.example", "http://" + "a" * 70 + ".example", "tls"])
def test_no_connection_is_not_sent(stage: Stage, url: str) -> None:
    plain = stage.server(after_nothing)
    address = {"refused": refused_port(), "tls": plain.url.replace("http", "https")}.get(url, url)
    commit = Commit()
    client = stage.client(address)
    outcome = client.submit(stage.body(), commit)
    assert isinstance(outcome, NotSent)
    assert "no connection" in outcome.message
    assert commit.calls == 0
    assert isinstance(client.fetch("7"), CannotTell)


def reset_at_once(connection: Connection) -> None:
    connection.reset()


def reset_after_head(connection: Connection) -> None:
    connection.read_head()
    connection.reset()


def reset_mid_body(connection: Connection) -> None:
    connection.read_head()
    connection.read_body(1 << 20)
    connection.reset()


def close_mid_body(connection: Connection) -> None:
    connection.read_head()
    connection.read_body(1 << 20)


def stop_reading(connection: Connection) -> None:
    connection.read_head()
    connection.hold()


@pytest.mark.parametrize("part", [reset_at_once, reset_after_head, reset_mid_body, close_mid_body, stop_reading])
def test_a_break_before_the_last_byte_is_not_sent(stage: Stage, part: Play) -> None:
    """I2."""
    server, commit = stage.server(part), Commit()
    body = stage.body(BIG_BYTES)
    assert isinstance(stage.client(server.url).submit(body, commit), NotSent)
    assert commit.calls == 0
    assert len(server.connections) == 1
    assert len(server.connections[0].body) < body.content_length


def test_a_slow_upload_ends_at_its_deadline(stage: Stage) -> None:
    def read_slowly(connection: Connection) -> None:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.read_head()
        while not connection.stopping.wait(0.02) and connection.sock.recv(1 << 15):
            pass

    server, commit, start = stage.server(read_slowly), Commit(), monotonic()
    timeouts = Timeouts(connect=5, write=5, answer=5, upload=0.5)
    outcome = stage.client(server.url, timeouts=timeouts).submit(stage.body(BIG_BYTES), commit)
    assert isinstance(outcome, NotSent)
    assert monotonic() - start < 4
    assert commit.calls == 0


# The answer comes before the body is complete.


def answer_early(status: int, body: object, then: Callable[[Connection], None]) -> Play:
    def part(connection: Connection) -> None:
        connection.read_head()
        connection.answer(body, status)
        then(connection)

    return part


@pytest.mark.parametrize("then", ["hold", "close"])
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, b"", Refusal.KEY),
        (413, b"<html>too large", Refusal.INVALID),
        (429, b"", Refusal.NO_ROOM),
        (200, {"code": 23, "description": ""}, Refusal.NO_ROOM),
        (200, ACCEPTED, None),
        (200, ACCEPTED | {"code": 22}, None),
        (502, b"", None),
    ],
)
def test_an_early_answer_refuses_or_says_nothing(
    stage: Stage, then: str, status: int, body: object, kind: Refusal | None
) -> None:
    """I2."""
    server, commit = stage.server(answer_early(status, body, THEN[then])), Commit()
    outcome = stage.client(server.url).submit(stage.body(BIG_BYTES), commit)
    assert commit.calls == 0
    assert (outcome.kind if isinstance(outcome, Refused) else type(outcome)) == (kind or NotSent)


# Something of ours stops the body.


def read_all(connection: Connection) -> None:
    connection.read_head()
    connection.read_to_the_end()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("lease lost"),
        KeyboardInterrupt(),
        httpx.ConnectError("theirs"),
        httpx.WriteError("theirs"),
        httpx.ReadTimeout("theirs"),
        GeneratorExit(),
    ],
    ids=repr,
)
def test_what_the_commit_raises_comes_out_and_the_last_byte_stays(stage: Stage, error: BaseException) -> None:
    """I3."""
    server, body, start = stage.server(read_all), stage.body(), monotonic()
    client = stage.client(server.url, timeouts=Timeouts(answer=4))
    with pytest.raises(type(error)) as caught:
        client.submit(body, Commit(error))
    assert monotonic() - start < 3  # It does not wait for an answer first.
    assert caught.value is error
    server.wait_for_ends()
    assert len(server.connections) == 1
    assert len(server.connections[0].body) == body.content_length - 1


def test_what_progress_raises_comes_out(stage: Stage) -> None:
    server = stage.server(read_all)
    error, commit, body = RuntimeError("abort"), Commit(), stage.body()
    with pytest.raises(RuntimeError) as caught:
        stage.client(server.url).submit(body, commit, Commit(error))
    assert caught.value is error
    server.wait_for_ends()
    assert commit.calls == 0
    assert len(server.connections[0].body) < body.content_length


def test_a_missing_picture_comes_out_with_its_cause(stage: Stage, tmp_path: Path) -> None:
    server = stage.server(read_all)
    body, commit = stage.body(), Commit()
    (tmp_path / "b").unlink()
    with pytest.raises(PictureMissing) as caught:
        stage.client(server.url).submit(body, commit)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    server.wait_for_ends()
    assert commit.calls == 0
    assert len(server.connections[0].body) < body.content_length


def test_the_client_goes_on_after_a_failure(stage: Stage) -> None:
    server = stage.server(reset_at_once, take(ACCEPTED))
    client = stage.client(server.url, max_connections=1)
    assert isinstance(client.submit(stage.body(BIG_BYTES), Commit()), NotSent)
    with pytest.raises(RuntimeError):
        client.submit(stage.body(), Commit(RuntimeError()))
    assert isinstance(client.submit(stage.body(), Commit()), Accepted)

"""ProxyClient against servers that misbehave on a real wire (I2, I3, I8)."""

from __future__ import annotations

import gzip
import inspect
import json
import logging
import socket
import struct
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

import httpcore
import httpx
import pytest

from jobs.errors import PictureMissing, SettingsError, UsageError
from jobs.request import BlendRequest
from jobs.settings import ApiAuth, Settings
from worker.proxy.answers import Accepted, NotSent, Refusal, Refused, Unsure
from worker.proxy.body import BlendBody, Picture
from worker.proxy.client import MAX_ANSWER_BYTES, ProxyClient, Timeouts
from worker.proxy.exchange import FAILURES
from worker.proxy.lookups import Cancelled, CannotTell, Found, NoSuchCall, Unknown

KEY = "sk-key-of-ours"
WAIT_SECONDS = 10.0
SHORT = Timeouts(connect=5, write=0.4, answer=0.6, upload=5)
ACCEPTED = {"code": 1, "description": "提交成功", "properties": {}, "result": 1320098173412546}
# More than the kernel buffers of both ends hold: the upload cannot end before the server acts.
BIG_BYTES = 16 << 20


class Connection:
    """One accepted connection, as the server sees it."""

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        self.sock = sock
        self.stopping = stopping
        self.request_line = ""
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self._left_over = b""

    def read_head(self) -> None:
        data = self._left_over
        while b"\r\n\r\n" not in data:
            data += self._some() or b"\r\n\r\n"
        head, _, rest = data.partition(b"\r\n\r\n")
        self.request_line, *lines = head.decode("latin-1").split("\r\n")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.body = bytearray(rest)
        self._left_over = b""

    def read_body(self, most: int | None = None) -> None:
        """Up to `most` bytes; by default all that Content-Length announces, or until the client gives up."""
        length = int(self.headers.get("content-length", 0)) if most is None else most
        while len(self.body) < length and (chunk := self._some()):
            self.body += chunk

    def read_to_the_end(self) -> None:
        while chunk := self._some():
            self.body += chunk

    def _some(self) -> bytes:
        try:
            return self.sock.recv(1 << 16)
        except OSError:
            return b""

    def send(self, data: bytes) -> bool:
        try:
            self.sock.sendall(data)
        except OSError:
            return False
        return True

    def answer(self, body: object = b"", status: int = 200, *headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(data)}", *headers]
        self.send("\r\n".join([*lines, "", ""]).encode() + data)

    def take(self, body: object = b"", status: int = 200, *headers: str) -> None:
        """The whole request, then an answer."""
        self.read_head()
        self.read_body()
        self.answer(body, status, *headers)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def drip(self, byte: bytes) -> None:
        """The same bytes again and again, a little apart, until the client has had enough."""
        while self.send(byte) and not self.stopping.wait(0.02):
            pass

    def hold(self) -> None:
        """Do nothing, with the connection open, until the test is over."""
        self.stopping.wait(WAIT_SECONDS)


Play = Callable[[Connection], None]


class Server:
    """Plays one part per connection, the last one again for all that follow."""

    def __init__(self, *parts: Play) -> None:
        self.parts = parts
        self.connections: list[Connection] = []
        self.ended = threading.Semaphore(0)
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            sock, _ = self._listener.accept()
            if self._stopping.is_set():
                sock.close()
                return
            sock.settimeout(WAIT_SECONDS)
            connection = Connection(sock, self._stopping)
            self.connections.append(connection)
            part = self.parts[min(len(self.connections), len(self.parts)) - 1]
            self._threads.append(threading.Thread(target=self._play, args=(part, connection)))
            self._threads[-1].start()

    def _play(self, part: Play, connection: Connection) -> None:
        try:
            part(connection)
        finally:
            connection.sock.close()
            self.ended.release()

    def wait_for_ends(self, count: int = 1) -> None:
        """Until `count` connections were played to their end."""
        for _ in range(count):
            assert self.ended.acquire(timeout=WAIT_SECONDS)

    def close(self) -> None:
        self._stopping.set()
        socket.create_connection(self._listener.getsockname()).close()
        for thread in self._threads:
            thread.join(WAIT_SECONDS)
            assert not thread.is_alive()
        self._listener.close()


class Stage:
    """Servers and clients of one test, closed at its end."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder

    def server(self, *parts: Play) -> Server:
        server = Server(*parts)
        self._stack.callback(server.close)
        return server

    def client(self, url: str, key: str | None = KEY, **options: Any) -> ProxyClient:
        return self._stack.enter_context(ProxyClient(url, key, **({"timeouts": SHORT} | options)))

    def body(self, picture_bytes: int = 1000) -> BlendBody:
        several = []
        for name in ("a", "b"):
            path = self._folder / name
            path.write_bytes(b"\x89PNG" + bytes(picture_bytes - 4))
            several.append(Picture("image/png", path, picture_bytes))
        return BlendBody(BlendRequest(images=("a", "b")), several, None, "token")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(stack, tmp_path)


class Commit:
    def __init__(self, error: BaseException | None = None) -> None:
        self.calls = 0
        self.error = error

    def __call__(self) -> None:
        self.calls += 1
        if self.error:
            raise self.error


def take(body: object = b"", status: int = 200, *headers: str) -> Play:
    """One answer, and a close that is announced."""
    return lambda connection: connection.take(body, status, "Connection: close", *headers)


# The request as it goes out.


@pytest.mark.parametrize(
    ("auth", "key", "sent"),
    [
        (ApiAuth.MJ_API_SECRET, KEY, {"mj-api-secret": KEY}),
        (ApiAuth.BEARER, KEY, {"authorization": f"Bearer {KEY}"}),
        (ApiAuth.BEARER, None, {}),
    ],
)
def test_an_accepted_submission(stage: Stage, auth: ApiAuth, key: str | None, sent: dict[str, str]) -> None:
    server = stage.server(take(ACCEPTED))
    body, commit = stage.body(), Commit()
    verdict = stage.client(server.url + "/mj-fast/", key, auth=auth).submit(body, commit)
    assert verdict == Accepted("1320098173412546", 1, "提交成功")
    request = server.connections[0]
    assert request.request_line == "POST /mj-fast/mj/submit/blend HTTP/1.1"
    assert {n: v for n, v in request.headers.items() if n in ("mj-api-secret", "authorization")} == sent
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"].startswith("blendq/")
    assert "transfer-encoding" not in request.headers
    assert len(request.body) == body.content_length == int(request.headers["content-length"])
    assert len(json.loads(request.body)["base64Array"]) == 2
    assert commit.calls == 1


def test_the_last_byte_waits_for_the_commit(stage: Stage) -> None:
    """I2."""
    arrived, looked, lengths = threading.Event(), threading.Event(), list[int]()

    def watch(connection: Connection) -> None:
        connection.read_head()
        connection.read_body(body.content_length - 1)
        arrived.set()
        connection.sock.settimeout(0.2)  # Time enough for a byte that is not held back.
        connection.read_body()
        lengths.append(len(connection.body))
        looked.set()
        connection.sock.settimeout(WAIT_SECONDS)
        connection.read_body()
        connection.answer(ACCEPTED)

    def commit() -> None:
        assert arrived.wait(WAIT_SECONDS)
        assert looked.wait(WAIT_SECONDS)

    body = stage.body()
    server = stage.server(watch)
    assert isinstance(stage.client(server.url).submit(body, commit), Accepted)
    lengths.append(len(server.connections[0].body))
    assert lengths == [body.content_length - 1, body.content_length]


def test_from_settings(stage: Stage) -> None:
    server = stage.server(take(ACCEPTED))
    settings = Settings.load({}, api_url=server.url, api_key=KEY, api_auth="bearer", api_account_filter=True)
    with ProxyClient.from_settings(settings) as client:
        assert client.nested_account_filter
        assert isinstance(client.submit(stage.body(), Commit()), Accepted)
    assert server.connections[0].headers["authorization"] == f"Bearer {KEY}"
    with pytest.raises(SettingsError, match="api_url"):
        ProxyClient.from_settings(Settings.load({}))


@pytest.mark.parametrize("url", ["", "localhost:80", "ftp://a.example", "http://", "http://[::1", "http://a:b"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(SettingsError, match="api_url"):
        ProxyClient(url, None)


@pytest.mark.parametrize("key", ["sk-hidden\n", "sk-hidden\r\nx: y", "sk hidden", "sk-hidden-ü", "\0sk-hidden"])
def test_a_key_that_cannot_be_sent_is_not_shown(key: str) -> None:
    """I8."""
    with pytest.raises(SettingsError) as caught:
        ProxyClient("http://a.example", key)
    assert "hidden" not in repr(caught.value) + str(caught.value.__cause__)


def test_the_key_is_in_no_log_repr_or_message(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """I8."""
    caplog.set_level(logging.DEBUG)
    server = stage.server(take({"error": {"message": f"no such key: {KEY}"}}, 401))
    client = stage.client(server.url)
    said: list[object] = [
        repr(client),
        client.submit(stage.body(), Commit()),
        client.fetch("7"),
        client.cancel("7"),
    ]
    said += [client.list_by_ids(["7"]), client.find_by_state("token")]
    assert "[key]" in repr(said)
    assert KEY not in repr(said) + caplog.text
    assert "base64" not in caplog.text


# Redirects and connections.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(stage: Stage, status: int) -> None:
    """I2."""
    other = stage.server(take(ACCEPTED))
    server = stage.server(take(b"", status, f"Location: {other.url}/mj/submit/blend"))
    verdict = stage.client(server.url).submit(stage.body(), Commit())
    assert isinstance(verdict, Refused)
    assert verdict.kind is Refusal.WRONG_ADDRESS
    assert other.url in verdict.message
    assert (len(server.connections), len(other.connections)) == (1, 0)
    assert isinstance(stage.client(server.url).fetch("7"), CannotTell)
    assert len(other.connections) == 0


@pytest.mark.parametrize("location", ["http://[", "http://a:b/", "\xff", "///", "x" * 5000])
def test_a_redirect_to_nowhere_is_a_refusal_too(stage: Stage, location: str) -> None:
    server = stage.server(take(b"", 307, f"Location: {location}"))
    verdict = stage.client(server.url).submit(stage.body(), Commit())
    assert isinstance(verdict, Refused)
    assert verdict.kind is Refusal.WRONG_ADDRESS


def test_cookies_are_not_kept(stage: Stage) -> None:
    server = stage.server(take(b"null", 200, "Set-Cookie: a=b; Path=/"))
    client = stage.client(server.url)
    assert [client.fetch("7"), client.fetch("7")] == [Unknown(), Unknown()]
    assert "cookie" not in server.connections[1].headers


def test_a_kept_connection_that_the_server_closed_is_not_used_again(stage: Stage) -> None:
    server = stage.server(lambda connection: connection.take(b"null"))
    client = stage.client(server.url)
    for _ in range(3):
        assert client.fetch("7") == Unknown()
        server.wait_for_ends()
    assert len(server.connections) == 3


def test_lookups_share_a_kept_connection_and_submissions_never_use_it(stage: Stage) -> None:
    """I2: a kept connection that dies under the last byte would leave the submission in doubt."""

    def two_lookups_then_reset_on_more(connection: Connection) -> None:
        connection.take(b"null")
        connection.take(b"null")
        connection.read_body(1)
        connection.reset()

    server = stage.server(two_lookups_then_reset_on_more, take(ACCEPTED))
    client = stage.client(server.url)
    assert [client.fetch("7"), client.fetch("7")] == [Unknown(), Unknown()]
    assert len(server.connections) == 1
    assert isinstance(client.submit(stage.body(), Commit()), Accepted)
    assert server.connections[1].headers["connection"] == "close"


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


THEN: dict[str, Callable[[Connection], None]] = {
    "hold": Connection.hold,
    "close": lambda connection: None,
}


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
        httpcore.WriteError("theirs"),
        httpcore.ReadTimeout("theirs"),
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


# Lookups.


@pytest.mark.parametrize("task_id", ["7", "..", "a/../../b", "a b?c#d%2F", "任务"])
def test_a_task_id_stays_one_segment_of_the_path(stage: Stage, task_id: str) -> None:
    server = stage.server(take({"id": task_id, "status": "SUCCESS"}), take({"code": 1}))
    with stage.client(server.url) as client:
        assert isinstance(client.fetch(task_id), Found)
        server.wait_for_ends()
        assert client.cancel(task_id) == Cancelled()
    fetch, cancel = (connection.request_line.split(" ")[1] for connection in server.connections)
    assert fetch.count("/") == cancel.count("/") == 4
    assert fetch.removesuffix("fetch") == cancel.removesuffix("cancel")
    assert httpx.URL("http://a" + fetch).path == f"/mj/task/{task_id}/fetch"


def test_a_list_by_ids(stage: Stage) -> None:
    server = stage.server(take([{"id": "7", "status": "SUCCESS"}]))
    client = stage.client(server.url)
    found = client.list_by_ids(["7", "8"])
    assert isinstance(found, dict)
    assert list(found) == ["7"]
    assert json.loads(server.connections[0].body) == {"ids": ["7", "8"]}
    assert client.list_by_ids([]) == {}
    with pytest.raises(UsageError, match="100"):
        client.list_by_ids(["7"] * 101)
    assert len(server.connections) == 1


def test_finding_by_state_asks_query_then_the_list(stage: Stage) -> None:
    rows = [{"id": "7", "state": "token and more"}]
    query = stage.server(take({"content": rows}))
    assert isinstance(stage.client(query.url).find_by_state("token"), Found)
    assert json.loads(query.connections[0].body)["state"] == "token"
    without = stage.server(take(b"", 404), take(rows))
    assert isinstance(stage.client(without.url).find_by_state("token"), Found)
    assert without.connections[1].request_line.startswith("GET /mj/task/list ")
    neither = stage.server(take(b"", 405), take(b"", 404))
    assert stage.client(neither.url).find_by_state("token") == NoSuchCall()
    failing = stage.server(take(b"", 502))
    assert isinstance(stage.client(failing.url).find_by_state("token"), CannotTell)
    assert len(failing.connections) == 1


def test_a_long_list_is_read_and_a_longer_one_tells_nothing(stage: Stage) -> None:
    row = {"id": "7", "state": "token", "prompt": "x" * 1_000_000}
    timeouts = Timeouts(answer=WAIT_SECONDS)
    for count, expected in ((5, Found), (9, CannotTell)):
        server = stage.server(take([row] * count))
        assert type(stage.client(server.url, timeouts=timeouts).find_by_state("token")) is expected


# As a whole.


def test_one_client_serves_many_threads(stage: Stage) -> None:
    server = stage.server(take(ACCEPTED))
    client, body = stage.client(server.url, timeouts=Timeouts()), stage.body(300_000)
    outcomes: list[type] = []

    def work() -> None:
        outcomes.extend(type(client.submit(body, Commit())) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert outcomes == [Accepted] * 40
    assert len(server.connections) == 40


def test_every_foreign_exception_has_its_words() -> None:
    internal = {httpcore.ConnectionNotAvailable}
    kinds = {kind for _, kind in inspect.getmembers(httpcore, inspect.isclass) if issubclass(kind, Exception)}
    table = [kind for kind, _ in FAILURES]
    assert kinds - internal == {kind for kind in kinds if issubclass(kind, tuple(table))}
    for index, kind in enumerate(table):
        assert not issubclass(kind, tuple(table[:index])), f"{kind} stands behind a wider one"

"""The receiver as if attacked: each test names one attack. The honest caller beside it is always answered (I4)."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from jobs.connections import Connections
from jobs.errors import StoreUnavailable
from jobs.events import Event
from jobs.job import Status
from jobs.keys import Keys
from jobs.limits import Buckets, sender
from jobs.policy import Policy
from jobs.server import connect
from jobs.settings import Settings
from jobs.store import JobStore
from tests.integration.listening import SECRET, Listening, everything, listening, task
from tests.integration.workbench import wait_for
from worker import recorder as room
from worker.callbacks import Receiver
from worker.connection import Connection
from worker.hooks import Hooks
from worker.http import (
    MAX_BODY_BYTES,
    MAX_FRAMED_BYTES,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_UNREAD_BYTES,
    NOT_FOUND,
    NOT_HTTP,
    Answer,
    Head,
    Reader,
)

OLD, NEW = b"the-old-secret-of-a-test", b"the-new-secret-of-a-test"
SOON_SECONDS = 0.4
# Longer than any deadline that a test sets, and shorter than those of the settings' defaults.
PROMPT_SECONDS = 5.0

Listen = Callable[..., Listening]


@pytest.fixture
def listen(redis_url: str, keys: Keys, tmp_path: Path) -> Iterator[Listen]:
    """Starts a receiver with these settings; it knows one job, `job_1`."""
    with ExitStack() as stack:

        def start(store: JobStore | None = None, hooks: Hooks | None = None, **fields: Any) -> Listening:
            settings = Settings.load({}, data_dir=tmp_path, redis_url=redis_url, receiver_port=0, **fields)
            one: AbstractContextManager[Listening] = listening(settings, keys, store=store, hooks=hooks)
            made = stack.enter_context(one)
            if store is None:
                made.add()
            return made

        yield start


def head(path: str, *headers: str, method: str = "POST", length: int = 100) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *headers, "", ""]).encode()


def ask(receiver: Listening, message: bytes, source: str = "127.0.0.1") -> bytes:
    """The head of the answer, byte for byte."""
    with receiver.connect(source) as connection:
        connection.sendall(message)
        answer = b""
        while b"\r\n\r\n" not in answer and (part := connection.recv(65536)):
            answer += part
    return answer


def code(answer: bytes) -> int:
    return int(answer[9:12])


def sent_until_cut(connection: socket.socket, data: bytes, pause_seconds: float = 0.0) -> int:
    """Send the same again and again; returns how many bytes went out before the other side had enough."""
    sent, give_up_at = 0, time.monotonic() + 30
    while time.monotonic() < give_up_at:
        try:
            sent += connection.send(data)
        except TimeoutError:
            continue  # nobody reads: that alone is no end
        except OSError:
            return sent
        time.sleep(pause_seconds)
    pytest.fail(f"it was not cut: {sent} bytes went out")


def sent_until_stuck(connection: socket.socket, data: bytes) -> int:
    """Send the same again and again; returns how many bytes went out before the other side took no more."""
    sent = 0
    try:
        while sent < 64 * MAX_UNREAD_BYTES:
            sent += connection.send(data)
    except TimeoutError:
        pass
    return sent


def seconds_until_cut(connection: socket.socket) -> float:
    began = time.monotonic()
    everything(connection)
    return time.monotonic() - began


# One answer for all that is not ours ---------------------------------------------------------------------------------


def test_every_forgery_gets_the_same_answer_to_the_byte(listen: Listen) -> None:
    receiver = listen()
    path = receiver.path()
    _, _, job, attempt, mac = path.split("/")
    paths = [
        f"/hooks/{job}/{attempt}/{mac[:-1]}A",
        f"/hooks/{job}/{attempt}/{mac[:-1]}",
        f"/hooks/{job}/{attempt}/{'A' * 43}",
        f"/hooks/{job}/0{attempt}/{mac}",
        f"/hooks/{job}/{10**12}/{mac}",
        f"/hooks/nobody/{attempt}/{mac}",
        f"{path}/",
        f"/{path}",
        path.replace("/1/", "//1/"),
        path.replace("hooks", "Hooks"),
        path.replace("hooks", "%68ooks"),
        path.replace("/1/", "/%31/"),
        f"/x/..{path}",
        f"http://x{path}",
        "/hooks/" + "a" * 5000,
        "/hooks/%00/%ff/%2f",
        "/hooks",
        "/",
        "*",
        "/livez/",
        "/openapi.json",
    ]
    answers = {ask(receiver, head(one, length=0)) for one in paths}
    methods = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
    answers |= {ask(receiver, head(path, method=method, length=0)) for method in methods}
    answers |= {ask(receiver, head("/livez", method=method, length=0)) for method in ("POST", "HEAD", "OPTIONS")}
    body = json.dumps(task()).encode()
    answers.add(ask(receiver, head(receiver.path("nobody"), length=len(body)) + body))  # true, but there is no such job
    assert answers == {b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"}
    # Nor does it matter which address is asked by a method that nobody knows.
    odd = {ask(receiver, head(one, method=method)) for one in (path, "/x") for method in ("BREW", "post")}
    assert odd == {NOT_HTTP.text}


def test_a_forgery_costs_no_io(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = listen()

    def touched(*_: object) -> None:
        raise AssertionError("the store was asked")

    for name in ("apply_many", "find", "ping", "get"):
        monkeypatch.setattr(JobStore, name, touched)
    for path in (receiver.path()[:-1] + "!", receiver.path()[:-1], "/", "/livez/"):
        assert code(ask(receiver, head(path, length=MAX_BODY_BYTES))) == 404


def test_health_is_told_to_this_machine_alone(listen: Listen) -> None:
    receiver = listen()
    assert receiver.http.get("/livez").status_code == 200
    assert receiver.http.get("/livez", headers={"X-Forwarded-For": "203.0.113.7"}).status_code == 404
    application = Receiver(receiver.store, receiver.hooks, receiver.wakeups)
    assert [_health_for(application, host) for host in ("203.0.113.7", "10.0.0.9", "10.0.0.5", "::1")] == [
        *(404, 404),  # strangers
        *(200, 200),  # the receiver's own address, and loopback
    ]
    application.close()


def _health_for(application: Receiver, host: str) -> int:
    head = Head(b"GET", b"/livez", [], peer=host, own="10.0.0.5", is_proxy=lambda _: False)
    decided = application.screen(head)
    if isinstance(decided, Answer):
        return code(decided.text)
    assert asyncio.iscoroutine(decided)
    return code(asyncio.run(decided).text)


def test_what_is_no_http_gets_a_short_answer_and_no_line_in_the_log(
    listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = listen()
    with caplog.at_level(logging.INFO):
        for message in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET /\r\n\r\n", b"\r\n" * 9000):
            with receiver.connect() as connection:
                connection.sendall(message)
                assert everything(connection) in (NOT_HTTP.text, NOT_FOUND.then_close().text, b"")
        ask(receiver, head("/", "Upgrade: websocket", "Connection: Upgrade", length=0))
    assert [record.getMessage() for record in caplog.records if record.name != "httpx"] == []
    assert receiver.call(task()) == 200


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


# Too much ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [1, 50], ids=["at once", "in pieces"])
def test_a_giant_head_is_cut_off(listen: Listen, pieces: int) -> None:
    receiver = listen()
    whole = head(receiver.path(), "X: " + "x" * (2 * MAX_HEAD_BYTES))
    size = len(whole) // pieces
    with receiver.connect() as connection:
        for start in range(0, len(whole), size):
            try:
                connection.sendall(whole[start : start + size])
            except OSError:
                break
            time.sleep(0.001)
        assert everything(connection)[:12] in (b"HTTP/1.1 400", b"")
    assert receiver.call(task()) == 200


def test_too_many_headers_are_a_forgery(listen: Listen) -> None:
    receiver = listen()
    body = json.dumps(task()).encode()
    few = head(receiver.path(), *(f"X{n}: 1" for n in range(MAX_HEADERS - 2)), length=len(body)) + body
    many = head(receiver.path(), *(f"X{n}: 1" for n in range(MAX_HEADERS - 1)), length=len(body)) + body
    assert [code(ask(receiver, message)) for message in (few, many)] == [200, 404]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * MAX_BODY_BYTES,
        b'{"id":' * (MAX_BODY_BYTES // 6),
        b'{"id": ' + b"9" * (MAX_BODY_BYTES - 8) + b"}",
        b'{"id": "' + b"x" * (MAX_BODY_BYTES - 10) + b'"}',
        b"{" + b",".join(b'"%d":[]' % n for n in range(MAX_BODY_BYTES // 12)) + b"}",
        b"\x1f\x8b" + b"\0" * 1000,
    ],
    ids=["deep lists", "deep objects", "a giant number", "a giant id", "wide", "compressed"],
)
def test_a_hostile_body_costs_little(listen: Listen, body: bytes) -> None:
    receiver = listen()
    began = time.process_time()
    assert receiver.call(body) == 400
    assert time.process_time() - began < 0.5
    assert receiver.call(task()) == 200


def test_a_body_that_nobody_reads_is_not_listened_to_for_long(listen: Listen) -> None:
    receiver = listen()
    with receiver.connect() as connection:
        connection.sendall(head("/forged", length=1 << 30))
        assert code(connection.recv(65536)) == 404
        assert sent_until_cut(connection, b"x" * 65536) < 64 * MAX_UNREAD_BYTES  # the kernel holds a lot, too


# Too slow ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", b"POST /hoo", b"POST / HTTP/1.1\r\nX: 1\r\n"], ids=["nothing", "a word", "half"])
def test_a_head_that_does_not_come_to_its_end(listen: Listen, said: bytes) -> None:
    receiver = listen(receiver_head_seconds=SOON_SECONDS)
    with receiver.connect() as slow:
        slow.sendall(said)
        assert seconds_until_cut(slow) < PROMPT_SECONDS


def test_a_byte_now_and_then_does_not_keep_a_connection(listen: Listen) -> None:
    receiver = listen(receiver_head_seconds=SOON_SECONDS)
    with receiver.connect() as slow:
        slow.sendall(b"POST /")
        assert sent_until_cut(slow, b"x", 0.05) < PROMPT_SECONDS / 0.05


def test_an_idle_connection_is_closed_after_an_answer(listen: Listen) -> None:
    receiver = listen(receiver_head_seconds=SOON_SECONDS)
    with receiver.connect() as idle:
        idle.sendall(head("/forged", length=0))
        assert code(idle.recv(65536)) == 404
        assert seconds_until_cut(idle) < PROMPT_SECONDS


def test_the_body_of_a_forgery_that_drips(listen: Listen) -> None:
    receiver = listen(receiver_head_seconds=SOON_SECONDS)
    with receiver.connect() as slow:
        slow.sendall(head("/forged"))
        assert code(slow.recv(65536)) == 404
        assert sent_until_cut(slow, b"x", 0.05) < PROMPT_SECONDS / 0.05


def test_the_body_of_a_callback_that_drips(listen: Listen) -> None:
    receiver = listen(receiver_body_seconds=SOON_SECONDS)
    with receiver.connect() as slow:
        slow.sendall(head(receiver.path()) + b"{")
        answer = everything(slow)
    assert answer.startswith(b"HTTP/1.1 408")
    assert answer.endswith(b"\r\n\r\n")


def test_a_caller_that_never_reads_its_answers(listen: Listen) -> None:
    receiver = listen(
        receiver_head_seconds=1.0,
        receiver_body_seconds=0.5,
        receiver_store_seconds=0.5,
        receiver_forged_per_second=10**6,
    )
    with receiver.connect() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(0.5)
        sent_until_cut(deaf, head("/forged", length=0) * 500)


def test_who_asks_on_and_on_before_it_was_answered_is_not_listened_to(
    listen: Listen, redis_url: str, keys: Keys
) -> None:
    store = SlowStore(redis_url, keys)
    store.let.set()
    receiver = listen(store=store, receiver_store_seconds=20, receiver_forged_per_second=10**6)
    receiver.add()
    store.let.clear()
    body = json.dumps(task()).encode()
    with receiver.connect() as connection:
        connection.settimeout(1.0)
        connection.sendall(head(receiver.path(), length=len(body)) + body)
        assert sent_until_stuck(connection, head("/forged", length=0) * 500) < 64 * MAX_UNREAD_BYTES
        store.let.set()
        assert code(connection.recv(17)) == 200


# Too many ------------------------------------------------------------------------------------------------------------


def test_one_address_may_hold_only_so_many_connections(listen: Listen) -> None:
    receiver = listen(receiver_connections_per_address=3)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(receiver.connect("127.0.0.2"))
        assert everything(stack.enter_context(receiver.connect("127.0.0.2"))).startswith(b"HTTP/1.1 503")
        assert receiver.call(task()) == 200
    wait_for(lambda: code(ask(receiver, head("/", length=0), "127.0.0.2")) == 404, lambda: "its room is not given back")


def test_a_trusted_proxy_may_hold_as_many_as_it_needs(listen: Listen) -> None:
    receiver = listen(receiver_connections_per_address=3, receiver_trusted_proxies="127.0.0.2/31")
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(receiver.connect("127.0.0.2"))
        assert code(ask(receiver, head("/", length=0), "127.0.0.2")) == 404


def test_those_who_only_hold_connections_make_room(listen: Listen) -> None:
    receiver = listen(receiver_connections=20)
    with ExitStack() as stack:
        held = [stack.enter_context(receiver.connect(f"127.0.0.{2 + number}")) for number in range(40)]
        for number in range(10):
            assert code(ask(receiver, head("/", length=0), f"127.0.1.{number}")) == 404
            assert receiver.call(task()) == 200
        assert everything(held[0]) == b""


def test_forging_in_a_hurry(listen: Listen) -> None:
    receiver = listen(receiver_forged_per_second=1)
    answers = [ask(receiver, head(f"/hooks/{number}", length=0), "127.0.0.2") for number in range(30)]
    codes = list(map(code, answers))
    assert codes[:10] == [404] * 10
    assert codes[-10:] == [429] * 10
    assert {answer.partition(b"\r\n")[2] for answer in answers[-10:]} == {
        b"connection: close\r\ncontent-length: 0\r\n\r\n"
    }
    assert code(ask(receiver, head("/", length=0), "127.0.0.3")) == 404, "another address has a bucket of its own"
    body = json.dumps(task()).encode()
    assert code(ask(receiver, head(receiver.path(), length=len(body)) + body, "127.0.0.2")) == 200


def test_a_made_up_forwarding_header_hides_nobody(listen: Listen) -> None:
    receiver = listen(receiver_forged_per_second=1)
    codes = [code(ask(receiver, head("/", f"X-Forwarded-For: 10.0.0.{n}", length=0))) for n in range(30)]
    assert 429 in codes


def test_behind_a_trusted_proxy_each_caller_is_counted_for_itself(listen: Listen) -> None:
    receiver = listen(receiver_forged_per_second=1, receiver_trusted_proxies="127.0.0.1")
    codes = [code(ask(receiver, head("/", f"X-Forwarded-For: 10.0.0.{n}", length=0))) for n in range(30)]
    assert set(codes) == {404}
    # What the caller wrote before the proxy's own word does not count.
    codes = [code(ask(receiver, head("/", f"X-Forwarded-For: 10.0.1.{n}, 10.9.9.9", length=0))) for n in range(30)]
    assert 429 in codes


def test_a_leaked_address_cannot_be_called_without_end(listen: Listen) -> None:
    receiver = listen(receiver_callbacks_per_second=1)
    receiver.add("job_2")
    codes = [receiver.call(task()) for _ in range(30)]
    assert (codes[0], codes[-1]) == (200, 429)
    assert receiver.call(task(id="t2"), "job_2") == 200


def test_buckets_fill_up_and_are_bounded() -> None:
    buckets = Buckets(per_second=2, burst=4, most=100)
    assert [buckets.take("a", 0.0) for _ in range(6)] == [True] * 4 + [False] * 2
    assert [buckets.take("a", 1.0) for _ in range(3)] == [True, True, False]
    for number in range(1000):
        buckets.take(str(number), 2.0)
    assert len(buckets) == 100


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("", "unknown"),
        ("junk\r\n", "unknown"),
    ],
)
def test_who_is_counted_as_one_sender(address: str, name: str) -> None:
    assert sender(address) == name


# Overload ------------------------------------------------------------------------------------------------------------


class SlowStore(JobStore):
    """A store that answers only when it is let."""

    def __init__(self, redis_url: str, keys: Keys) -> None:
        super().__init__(connect(redis_url), Policy(), keys)
        self.let = threading.Event()
        self.batches: list[int] = []  # how many callbacks came together

    def apply_many(self, happened: Sequence[tuple[str, Event]], *args: Any, **kwargs: Any) -> Any:
        self.batches.append(len(happened))
        self.let.wait(30)
        return super().apply_many(happened, *args, **kwargs)


def test_a_store_that_hangs_is_not_waited_for(listen: Listen, redis_url: str, keys: Keys) -> None:
    store = SlowStore(redis_url, keys)
    store.let.set()
    receiver = listen(store=store, receiver_store_seconds=SOON_SECONDS)
    receiver.add()
    store.let.clear()
    began = time.monotonic()
    answer = receiver.http.post(receiver.path(), json=task())
    assert (answer.status_code, answer.headers["Retry-After"], answer.content) == (503, "1", b"")
    assert time.monotonic() - began < PROMPT_SECONDS
    store.let.set()
    wait_for(lambda: receiver.call(task()) == 200, lambda: "it does not come back")


def test_when_too_many_wait_the_next_hears_it_at_once(
    listen: Listen, redis_url: str, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "WRITERS", 2)
    monkeypatch.setattr(room, "MAX_BATCH", 1)
    monkeypatch.setattr(room, "MAX_WAITING", 3)
    store = SlowStore(redis_url, keys)
    store.let.set()
    receiver = listen(store=store, receiver_store_seconds=20)
    receiver.add()
    store.let.clear()
    body = json.dumps(task()).encode()
    with ExitStack() as stack:
        waiting = [stack.enter_context(receiver.connect()) for _ in range(5)]
        for connection in waiting:
            connection.sendall(head(receiver.path(), "Connection: close", length=len(body)) + body)
        began = time.monotonic()
        wait_for(lambda: receiver.call(task()) == 503, lambda: "it was let in")
        assert time.monotonic() - began < PROMPT_SECONDS
        store.let.set()
        assert [code(everything(connection)) for connection in waiting] == [200] * 5


def test_those_that_wait_are_written_together_and_one_that_fails_fails_alone(
    listen: Listen, redis_url: str, keys: Keys
) -> None:
    store = SlowStore(redis_url, keys)
    store.let.set()
    receiver = listen(store=store, receiver_store_seconds=20)
    names = [f"job_{number}" for number in range(20)]
    for name in names:
        receiver.add(name)
    store._redis.hset(keys.job("job_7"), "doc", "{")
    store.let.clear()
    before = len(store.batches)
    with ExitStack() as stack:
        waiting = [stack.enter_context(receiver.connect()) for _ in names]
        for name, connection in zip(names, waiting, strict=True):
            body = json.dumps(task(id=f"task of {name}")).encode()
            connection.sendall(head(receiver.path(name), "Connection: close", length=len(body)) + body)
        known = receiver.application._recorder._waiting
        wait_for(lambda: sum(store.batches[before:]) + len(known) == len(names), lambda: "they do not wait")
        store.let.set()
        codes = [code(everything(connection)) for connection in waiting]
    assert codes == [503 if name == "job_7" else 200 for name in names]
    assert sum(store.batches[before:]) == len(names)
    assert len(store.batches[before:]) <= room.WRITERS + 1, "one batch a writer, and one of all that waited"


def test_a_callback_whose_time_was_up_is_not_written_later(listen: Listen, redis_url: str, keys: Keys) -> None:
    """The API was told "later": what it says then is not to be overtaken by what it said before."""
    store = SlowStore(redis_url, keys)
    store.let.set()
    receiver = listen(store=store, receiver_store_seconds=SOON_SECONDS)
    for number in range(room.WRITERS + 2):
        receiver.add(f"job_{number}")
    store.let.clear()
    for number in range(room.WRITERS + 1):
        assert receiver.call(task(id=f"t{number}"), f"job_{number}") == 503
    store.let.set()
    last = room.WRITERS + 1
    wait_for(lambda: receiver.call(task(id=f"t{last}"), f"job_{last}") == 200, lambda: "it does not come back")
    assert store.get(f"job_{last - 1}").status is Status.COMMITTED


def test_whatever_breaks_inside_a_stranger_hears_only_later(
    listen: Listen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = listen()

    def broken(*_: object) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(JobStore, "apply_many", broken)
    assert receiver.call(task()) == 503
    assert "a defect" in caplog.text
    assert receiver.path() not in caplog.text


def test_a_storm_of_failures_does_not_fill_the_log(
    listen: Listen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = listen(receiver_callbacks_per_second=1000)

    def away(*_: object) -> None:
        raise StoreUnavailable("Redis does not answer")

    monkeypatch.setattr(JobStore, "apply_many", away)
    assert {receiver.call(task()) for _ in range(100)} == {503}
    assert 1 <= caplog.text.count("not recorded") < 50


# Secrets -------------------------------------------------------------------------------------------------------------


def test_old_and_new_secret_are_accepted_while_it_is_being_changed(listen: Listen) -> None:
    paths = {secret: f"/hooks/{Hooks([secret], None).token('job_1', 1)}" for secret in (OLD, NEW, SECRET)}

    def codes(**secrets: str) -> list[int]:
        given = {name: value.encode() for name, value in secrets.items()}
        with_hooks = Hooks([given["now"], *([given["before"]] if "before" in given else [])], None)
        receiver = listen(hooks=with_hooks)
        return [receiver.http.post(paths[secret], json=task()).status_code for secret in (OLD, NEW, SECRET)]

    assert codes(now=OLD.decode()) == [200, 404, 404]
    assert codes(now=NEW.decode(), before=OLD.decode()) == [200, 200, 404]
    assert codes(now=NEW.decode()) == [404, 200, 404]

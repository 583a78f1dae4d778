"""The receiver and callers who send too much, too slowly, or too often (I4)."""

from __future__ import annotations

import json
import socket
import time
from contextlib import ExitStack

import pytest

from jobs.keys import Keys
from jobs.limits import Buckets, sender
from tests.integration.attacking import (
    PROMPT_SECONDS,
    SOON_SECONDS,
    Listen,
    SlowStore,
    ask,
    code,
    head,
    seconds_until_cut,
    sent_until_cut,
    sent_until_stuck,
)
from tests.integration.listening import everything, task
from tests.integration.workbench import wait_for
from worker.http import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_UNREAD_BYTES,
)

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

"""Callbacks to hooks that are no addresses, and to receivers that come and go."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from ops.sandbox.callbacks import _Delivery, _Post


def delivery(hook: str) -> _Delivery:
    return _Delivery(hook, b"{}", lambda: None)


@pytest.mark.parametrize(
    "hook",
    ["", "nonsense", "ftp://host/x", "http://", "http://[", "http://h:port/", "http://127.0.0.1:1/ü", "http:///x"],
)
def test_nonsense_fails_and_harms_nobody(hook: str) -> None:
    assert _Post().deliver(delivery(hook)) == "failed"


@pytest.fixture
def fickle() -> Iterator[str]:
    """A receiver that answers: hangs up at once, then 200 and hangs up, then 500, then 200 on the same connection."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for answers in ([b""], [b"200 OK"], [b"500 No", b"200 OK"]):
            wire, _ = listening.accept()
            with wire:
                for answer in answers:
                    received = b""
                    while not received.endswith(b"{}"):
                        received += wire.recv(65536)
                    wire.sendall(b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\n\r\n" if answer else b"")

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/hooks/a/1/m?x=1"
    thread.join()
    listening.close()


def test_a_lost_connection_costs_one_callback_at_most(fickle: str) -> None:
    post = _Post()
    told = [post.deliver(delivery(fickle)) for _ in range(2)]
    assert told == ["failed", "delivered"]
    while (outcome := post.deliver(delivery(fickle))) == "failed":
        pass  # the end of the second connection may arrive while the third callback is on its way
    assert (outcome, post.deliver(delivery(fickle))) == ("refused", "delivered")
    post._drop(("http", fickle.split("/")[2]))

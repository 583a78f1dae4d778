"""The receiver as if attacked: forgeries, strangers and secrets. The honest caller is always answered (I4)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence

import pytest

from jobs.applying import Applying
from jobs.link import Link
from jobs.store import JobStore
from tests.integration.attacking import NEW, OLD, Listen, ask, code, head
from tests.integration.listening import SECRET, everything, task
from worker.callbacks import Receiver
from worker.hooks import Hooks
from worker.http import (
    MAX_BODY_BYTES,
    NOT_FOUND,
    NOT_HTTP,
    Answer,
    Head,
)

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

    for name in ("find", "ping", "get"):
        monkeypatch.setattr(JobStore, name, touched)
    monkeypatch.setattr(Applying, "steps", touched)
    monkeypatch.setattr(Link, "ask", touched)
    for path in (receiver.path()[:-1] + "!", receiver.path()[:-1], "/", "/livez/"):
        assert code(ask(receiver, head(path, length=MAX_BODY_BYTES))) == 404


def test_health_is_told_to_this_machine_alone(listen: Listen, redis_url: str) -> None:
    receiver = listen()
    assert receiver.http.get("/livez").status_code == 200
    assert receiver.http.get("/livez", headers={"X-Forwarded-For": "203.0.113.7"}).status_code == 404
    application = Receiver(receiver.store, Link(redis_url), receiver.hooks, receiver.wakeups)
    hosts = ("203.0.113.7", "10.0.0.9", "10.0.0.5", "::1")
    assert asyncio.run(_health_for(application, hosts)) == [
        *(404, 404),  # strangers
        *(200, 200),  # the receiver's own address, and loopback
    ]


async def _health_for(application: Receiver, hosts: Sequence[str]) -> list[int]:
    codes = []
    for host in hosts:
        decided = application.screen(Head(b"GET", b"/livez", [], peer=host, own="10.0.0.5", is_proxy=lambda _: False))
        assert not callable(decided)
        codes.append(code((decided if isinstance(decided, Answer) else await decided).text))
    application.close()
    return codes


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

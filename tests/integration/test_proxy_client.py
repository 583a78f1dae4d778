"""ProxyClient: the request as it goes out, redirects and connections, and the client as a whole (I2, I3, I8)."""

from __future__ import annotations

import base64
import inspect
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from jobs.errors import SettingsError
from jobs.net.line import Waits
from jobs.settings import Settings
from jobs.upstreams import ApiAuth
from tests.integration.misbehaving import ACCEPTED, KEY, WAIT_SECONDS, Commit, Connection, Stage, take
from worker.proxy import transport
from worker.proxy.answers import Accepted, NotSent, Refusal, Refused
from worker.proxy.client import ProxyClient, Timeouts
from worker.proxy.exchange import FAILURES, exchange
from worker.proxy.lookups import CannotTell, Unknown
from worker.proxy.reply import RawAnswer


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(stack, tmp_path)


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


def test_an_address_may_carry_a_user_and_a_password(stage: Stage) -> None:
    """For a network proxy in front of the API."""
    server = stage.server(take(ACCEPTED))
    url = server.url.replace("http://", "http://me:p%40ss@")
    assert isinstance(stage.client(url).submit(stage.body(), Commit()), Accepted)
    headers = server.connections[0].headers
    assert headers["authorization"] == f"Basic {base64.b64encode(b'me:p@ss').decode()}"
    assert headers["host"] == server.url.removeprefix("http://")


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
    with ProxyClient.of(settings.apis[0], settings) as client:
        assert client.nested_account_filter
        assert isinstance(client.submit(stage.body(), Commit()), Accepted)
    assert server.connections[0].headers["authorization"] == f"Bearer {KEY}"


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


def test_a_submissions_connection_is_used_for_nothing_else(stage: Stage) -> None:
    def go_on(connection: Connection) -> None:
        connection.take(ACCEPTED)  # although it was asked to close
        connection.take(b"null")

    server = stage.server(go_on, take(b"null"))
    client = stage.client(server.url)
    assert isinstance(client.submit(stage.body(), Commit()), Accepted)
    assert client.fetch("7") == Unknown()
    assert len(server.connections) == 2


def test_a_connection_that_took_half_a_request_is_not_used_again(stage: Stage) -> None:
    """The rest of it would be missing from its body, so the next request would be taken for that."""

    def answer_early(connection: Connection) -> None:
        connection.read_head()
        connection.answer(b"enough")
        connection.hold()

    server = stage.server(answer_early, take(b"null"))
    wire = transport.BoundedTransport(Waits(connect=5, read=5, write=0.3), 1, 60)
    answers = []
    for content in (bytes(64 << 20), b""):
        deadline = {transport.DEADLINE: transport.Deadline(WAIT_SECONDS)}
        answer = exchange(wire, httpx.Request("POST", server.url, content=content, extensions=deadline), 100)
        assert isinstance(answer, RawAnswer)
        answers.append(answer.body)
    wire.close()
    assert answers == [b"enough", b"null"]


def test_a_name_is_looked_up_once_in_a_while_and_again_when_nobody_is_there(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = stage.server(take(ACCEPTED))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = listener.getsockname()[1]
    leads_to, asked = [nobody, int(server.url.rpartition(":")[2])], 0

    def lookup(host: str, port: int, **_: object) -> list[object]:
        nonlocal asked
        assert (host, port) == ("api.example", 80)
        asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", leads_to[asked - 1]))]

    client = stage.client("http://api.example")
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lookup)
        assert isinstance(client.submit(stage.body(), Commit()), NotSent)
        assert [type(client.submit(stage.body(), Commit())) for _ in range(3)] == [Accepted] * 3
        assert asked == 2
        patch.setattr(transport, "monotonic", lambda: time.monotonic() + transport.PLACE_SECONDS)
        with pytest.raises(IndexError):
            client.submit(stage.body(), Commit())


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
    kinds = {kind for _, kind in inspect.getmembers(httpx, inspect.isclass) if issubclass(kind, httpx.TransportError)}
    table = [kind for kind, _ in FAILURES]
    assert len(kinds) > 10
    assert kinds == {kind for kind in kinds if issubclass(kind, tuple(table))}
    for index, kind in enumerate(table):
        assert not issubclass(kind, tuple(table[:index])), f"{kind} stands behind a wider one"

"""Connections to the server are used again without a look at them: no call may ever read what belongs to another."""

from __future__ import annotations

import os
import socket
import ssl
import time
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from redis.client import Pipeline
from redis.connection import AbstractConnection

from jobs import redis_client, server
from jobs.errors import StoreUnavailable
from jobs.questions import Question, ask, ask_all
from jobs.redis_client import RedisClient, watched_by_the_kernel
from jobs.server import begun, connect, unavailable
from ops.chaos.relay import Relay, RelayThread


@pytest.fixture
def other(redis_url: str) -> Iterator[RedisClient]:
    with connect(redis_url) as client:
        yield client


@pytest.fixture
def key(other: RedisClient) -> Iterator[str]:
    key = f"test:{uuid.uuid4().hex}"
    yield key
    other.delete(key)


@pytest.fixture
def over_tcp(redis_url: str) -> Iterator[RedisClient]:
    thread = RelayThread()
    relay = Relay(thread, Path(redis_url.removeprefix("unix://")))
    with connect(f"redis://127.0.0.1:{relay.port}") as client:
        yield client
    relay.close()
    thread.close()


def test_a_connection_that_has_just_answered_is_used_again(client: RedisClient) -> None:
    number = client.client_id()
    pipeline = client.pipeline(transaction=False)
    pipeline.client_id()
    pipeline.client_id()
    assert pipeline.execute() == [number, number]
    with pytest.raises(redis.ResponseError):
        client.execute_command("NO SUCH COMMAND")
    assert client.client_id() == number, "a refusal is an answer too"


def test_two_calls_at_once_have_a_connection_each(client: RedisClient) -> None:
    number = client.client_id()
    with client.one_call():
        assert client.client_id() != number


def test_an_answer_that_comes_too_late_is_no_other_calls(
    redis_url: str, other: RedisClient, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SOCKET_TIMEOUT_SECONDS", 0.25)
    with connect(redis_url) as client:
        number = client.client_id()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="TimeoutError"), unavailable():
            client.blpop([key], timeout=60)
        assert 0.2 < time.monotonic() - began < 30, "the kernel watches the time"
        other.rpush(key, "late")
        assert client.echo("mine") == b"mine"
        assert client.client_id() != number


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_was_not_read_to_the_end_is_never_read(client: RedisClient, error: type[BaseException]) -> None:
    def fail() -> None:
        with client.one_call() as connection:
            connection.send_command("ECHO", "not mine")
            raise error

    with pytest.raises(error):
        fail()
    assert client.echo("mine") == b"mine"


def test_what_is_left_of_a_transaction_is_never_read(over_tcp: RedisClient, monkeypatch: pytest.MonkeyPatch) -> None:
    parse, answers = Pipeline.parse_response, list[Any]()

    def interrupted(*args: Any, **options: Any) -> Any:
        if answers:
            raise KeyboardInterrupt
        answers.append(parse(*args, **options))  # type: ignore[no-untyped-call]
        return answers[0]

    pipeline = over_tcp.pipeline(transaction=True)
    pipeline.echo("not mine")
    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "parse_response", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pipeline.execute()
    assert over_tcp.echo("mine") == b"mine"


def test_a_transaction_has_a_connection_as_any_other_call(client: RedisClient) -> None:
    number = client.client_id()
    pipeline = client.pipeline(transaction=True)
    pipeline.client_id()
    pipeline.incrbyfloat("a key", "no number")  # type: ignore[arg-type]
    with pytest.raises(redis.ResponseError):
        pipeline.execute()
    pipeline.client_id()
    assert pipeline.execute() == [number]
    assert client.client_id() == number


def test_a_connection_that_was_interrupted_while_it_was_made_is_made_anew(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would do its calls without having logged in, or in another database."""
    read = AbstractConnection.read_response

    def interrupted(*args: Any, **options: Any) -> None:
        read(*args, **options)
        raise KeyboardInterrupt

    with connect(f"{redis_url}?db=1") as client:
        with monkeypatch.context() as patch:
            patch.setattr(AbstractConnection, "read_response", interrupted)
            with pytest.raises(KeyboardInterrupt):
                client.ping()
        assert client.client_info()["db"] == 1


def test_of_several_commands_one_is_refused_and_the_others_are_answered(client: RedisClient, key: str) -> None:
    def ask() -> redis.client.Pipeline:
        pipeline = client.pipeline(transaction=False)
        pipeline.set(key, "x")
        pipeline.incr(key)
        pipeline.get(key)
        return pipeline

    done, refused, value = ask().execute(raise_on_error=False)
    assert (done, value) == (True, b"x")
    assert isinstance(refused, redis.ResponseError)
    with pytest.raises(redis.ResponseError, match="Command # 2"):
        ask().execute()
    assert client.echo("mine") == b"mine"


def test_a_connection_that_was_not_used_for_a_while_is_looked_at(
    client: RedisClient, other: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    other.client_kill_filter(_id=str(client.client_id()))
    with pytest.raises(redis.ConnectionError):
        client.ping()  # used without a look at it: only the call itself finds out
    assert client.ping(), "and the next one connects again"
    monkeypatch.setattr(redis_client, "TRUSTED_SECONDS", 0.0)
    other.client_kill_filter(_id=str(client.client_id()))
    assert client.ping()


def test_where_one_has_failed_the_others_are_looked_at(client: RedisClient, other: RedisClient) -> None:
    with client.one_call():
        numbers = [client.client_id()]
    numbers.append(client.client_id())
    assert len(set(numbers)) == 2
    for number in numbers:
        other.client_kill_filter(_id=str(number))
    with pytest.raises(redis.ConnectionError):
        client.ping()
    assert client.ping(), "the server was started again: one call fails, and not one for each connection"


def test_connections_that_are_closed_are_opened_again(client: RedisClient) -> None:
    number = client.client_id()
    client.close()
    assert client.client_id() != number


def test_a_process_that_was_forked_off_has_connections_of_its_own(client: RedisClient) -> None:
    number = client.client_id()
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on, where there are other threads
        child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(client.client_id()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert int(answer.read()) != number
    os.waitpid(child, 0)
    assert client.client_id() == number, "the parent's is still good"


def test_a_script_that_the_server_does_not_know_is_told_it(client: RedisClient) -> None:
    number = client.client_id()
    word = uuid.uuid4().hex
    script = client.register_script(f"return {{'{word}', KEYS[1], ARGV[1]}}")
    assert script(keys=["k"], args=["a"]) == [word.encode(), b"k", b"a"]
    assert client.client_id() == number


def test_a_script_that_was_begun_is_told_too(client: RedisClient) -> None:
    word = uuid.uuid4().hex
    answer = begun(client.register_script(f"return '{word}'"), [], [])
    assert client.echo("mine") == b"mine", "another call goes on beside it"
    assert answer() == word.encode()


def test_a_pipeline_may_call_scripts(client: RedisClient) -> None:
    word = uuid.uuid4().hex
    pipeline = client.pipeline(transaction=False)
    client.register_script(f"return '{word}'")(client=pipeline)
    pipeline.echo("x")
    assert pipeline.execute() == [word.encode(), b"x"]


def test_several_questions_are_one_round_trip_and_each_gets_its_own_answers(client: RedisClient, key: str) -> None:
    def put(pipeline: Pipeline) -> None:
        pipeline.set(key, "x")
        pipeline.get(key)

    none: Question[int] = Question(lambda _: None, len)
    told: Question[list[Any]] = Question(put, list)
    count: Question[int] = Question(lambda pipeline: pipeline.exists(key), lambda answers: answers[0])
    assert ask_all(client, none, told, count) == [0, [True, b"x"], 1]
    assert (ask(client, none), ask(client, count)) == (0, 1)


def test_tls_keeps_its_own_time() -> None:
    with ssl.create_default_context().wrap_socket(
        socket.socket(), server_hostname="redis", do_handshake_on_connect=False
    ) as line:
        line.settimeout(5.0)
        watched_by_the_kernel(SimpleNamespace(_sock=line, socket_timeout=5.0, on_connect=lambda: None))
        assert line.gettimeout() == 5.0, "it would go on reading for ever"

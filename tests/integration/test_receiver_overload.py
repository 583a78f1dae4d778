"""The receiver when Redis is slow, or something breaks: callers hear of it at once, and no callback is half written."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from functools import partial

import pytest

from jobs.applying import Applying
from jobs.errors import StoreUnavailable
from jobs.job import Status
from jobs.keys import Keys
from tests.integration.attacking import PROMPT_SECONDS, SOON_SECONDS, Listen, SlowStore, code, head
from tests.integration.listening import everything, task
from tests.integration.workbench import wait_for
from worker import recorder as room


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
    monkeypatch.setattr(room, "MAX_BATCH", 1)
    monkeypatch.setattr(room, "MAX_WAITING", 3)
    store = SlowStore(redis_url, keys)
    store.let.set()
    receiver = listen(store=store, receiver_store_seconds=20)
    receiver.add()
    store.let.clear()
    body = json.dumps(task()).encode()
    before, known = len(store.batches), receiver.application._recorder._waiting
    with ExitStack() as stack:
        waiting = [stack.enter_context(receiver.connect()) for _ in range(4)]
        for count, connection in enumerate(waiting, 1):
            connection.sendall(head(receiver.path(), "Connection: close", length=len(body)) + body)
            come = partial(lambda count: sum(store.batches[before:]) + len(known) == count, count)
            wait_for(come, lambda: "it does not wait")
        began = time.monotonic()
        wait_for(lambda: receiver.call(task()) == 503, lambda: "it was let in")
        assert time.monotonic() - began < PROMPT_SECONDS
        store.let.set()
        assert [code(everything(connection)) for connection in waiting] == [200] * 4


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
    assert len(store.batches[before:]) <= 2, "one that was written when the others came, and one of all that waited"


def test_a_callback_whose_time_was_up_is_not_written_later(listen: Listen, redis_url: str, keys: Keys) -> None:
    """The API was told "later": what it says then is not to be overtaken by what it said before."""
    store = SlowStore(redis_url, keys)
    store.let.set()
    receiver = listen(store=store, receiver_store_seconds=SOON_SECONDS)
    for number in range(3):
        receiver.add(f"job_{number}")
    store.let.clear()
    for number in range(2):
        assert receiver.call(task(id=f"t{number}"), f"job_{number}") == 503
    store.let.set()
    wait_for(lambda: receiver.call(task(id="t2"), "job_2") == 200, lambda: "it does not come back")
    assert store.get("job_1").status is Status.COMMITTED


def test_whatever_breaks_inside_a_stranger_hears_only_later(
    listen: Listen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = listen()

    def broken(*_: object) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(Applying, "steps", broken)
    assert receiver.call(task()) == 503
    assert "a defect" in caplog.text
    assert receiver.path() not in caplog.text


def test_a_storm_of_failures_does_not_fill_the_log(
    listen: Listen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = listen(receiver_callbacks_per_second=1000)

    def away(*_: object) -> None:
        raise StoreUnavailable("Redis does not answer")

    monkeypatch.setattr(Applying, "steps", away)
    assert {receiver.call(task()) for _ in range(100)} == {503}
    assert 1 <= caplog.text.count("not recorded") < 50

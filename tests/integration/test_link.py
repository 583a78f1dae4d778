"""The link: Redis for an event loop, when all is well and when the connection is not; and the store upon it."""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import uvloop

from jobs import events
from jobs import link as room
from jobs.applying import Applied
from jobs.errors import StoreForbidden, StoreUnavailable
from jobs.job import Status
from jobs.keys import Keys
from jobs.link import Link, answers_of
from jobs.loop_store import LoopStore
from jobs.policy import Policy
from jobs.records import Known
from jobs.server import connect, lua
from jobs.store import JobStore
from ops.chaos.relay import Relay, RelayThread
from ops.chaos.wire import Ill, Trouble
from tests.integration.redis_users import GuardedServer
from tests.integration.stored import running
from tests.unit.lifecycle_world import new_job

DEADLINE_SECONDS = 20.0


def in_a_loop(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await work()

    asyncio.run(bounded())


@contextmanager
def relayed(redis_url: str) -> Iterator[tuple[Relay, Link]]:
    """A link whose connections a test can break."""
    thread = RelayThread()
    relay = Relay(thread, Path(redis_url.removeprefix("unix://")))
    try:
        yield relay, Link(f"redis://127.0.0.1:{relay.port}")
    finally:
        relay.close()
        thread.close()


def test_what_is_asked_at_once_is_answered_in_order_each_with_its_own(redis_url: str, keys: Keys) -> None:
    key = keys.job("a")

    async def work() -> None:
        link = Link(redis_url)
        asked = [link.ask([("HSET", key, "n", n), ("HGET", key, "n")]) for n in range(50)]
        assert [await one for one in asked] == [[1 if n == 0 else 0, str(n).encode()] for n in range(50)]
        wrong = link.ask([("HGET", key, "n"), ("LLEN", key), ("HGET", key, "n")])
        first, error, last = await wrong
        assert (first, type(error), last) == (b"49", redis.ResponseError, b"49")
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            answers_of(wrong)
        link.close()

    in_a_loop(work)


def test_what_cannot_be_sent_takes_nobodys_answer(redis_url: str) -> None:
    async def work() -> None:
        link = Link(redis_url)
        assert await link.ask([("PING",)]) == [b"PONG"]
        with pytest.raises(UnicodeEncodeError):
            link.ask([("ECHO", "\ud800")])
        assert await link.ask([("ECHO", "mine")]) == [b"mine"]
        assert await link.ask([("ECHO", "mine too")]) == [b"mine too"]
        link.close()

    in_a_loop(work)


def test_a_lost_connection_fails_what_was_asked_and_the_next_call_opens_another(redis_url: str) -> None:
    with relayed(redis_url) as (relay, link):

        async def work() -> None:
            assert await link.ask([("PING",)]) == [b"PONG"]
            blocked = link.ask([("BLPOP", f"never-{uuid.uuid4()}", 30)])
            await asyncio.to_thread(relay.cut)
            with pytest.raises(redis.ConnectionError):
                await blocked
            assert await link.ask([("PING",)]) == [b"PONG"]
            link.close()

        in_a_loop(work)


@pytest.mark.parametrize("asked_at_once", [True, False])
def test_a_server_that_will_not_have_us_is_away(asked_at_once: bool) -> None:
    """As one with `maxclients` connections: it says so before it was asked, and hangs up."""
    defects: list[dict[str, Any]] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, defect: defects.append(defect))
        near, far = socket.socketpair()
        with far:
            far.sendall(b"-ERR max number of clients reached\r\n")
        _, line = await loop.create_unix_connection(room._Line, sock=near)
        if not asked_at_once:
            await asyncio.sleep(0.05)  # by then it has heard of it
        asked = line.ask([("PING",)])
        await asyncio.wait([asked])
        with pytest.raises(StoreUnavailable):
            answers_of(asked)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(work(), DEADLINE_SECONDS))
    assert defects == []


def test_a_server_that_says_nothing_is_not_waited_for(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SOCKET_TIMEOUT_SECONDS", 0.3)
    with relayed(redis_url) as (relay, link):

        async def work() -> None:
            assert await link.ask([("PING",)]) == [b"PONG"]
            hole = Trouble(Ill.BLACK_HOLE)
            await asyncio.to_thread(relay.strike, hole)
            began = time.monotonic()
            asked = [link.ask([("PING",)]) for _ in range(3)]
            await asyncio.wait(asked)
            assert {type(one.exception()) for one in asked} == {redis.TimeoutError}
            assert time.monotonic() - began < DEADLINE_SECONDS / 2
            await asyncio.to_thread(relay.relieve, hole)
            assert await link.ask([("PING",)]) == [b"PONG"]
            link.close()

        in_a_loop(work)


def test_who_is_not_let_in_hears_why(guarded: GuardedServer) -> None:
    async def work() -> None:
        link = Link(guarded.url("receiver"))
        assert await link.ask([("PING",)]) == [b"PONG"]
        forbidden = link.ask([("FLUSHALL",)])
        await asyncio.wait([forbidden])
        with pytest.raises(StoreForbidden):
            answers_of(forbidden)
        link.close()
        wrong = Link(guarded.url("receiver").replace("receiver:", "receiver:not-"))
        asked = wrong.ask([("PING",)])
        await asyncio.wait([asked])
        with pytest.raises(StoreForbidden):
            answers_of(asked)

    in_a_loop(work)


def test_the_store_writes_by_it_and_rings_with_each_write(redis_url: str, keys: Keys) -> None:
    store, rung = _store(redis_url, keys), list[Status]()

    async def work() -> None:
        link = Link(redis_url)
        over = LoopStore(store, link, lambda changes: rung.extend(one.after.status for one in changes))
        first, unknown = await over.apply_many([("job_1", running("t1", 10)), ("job_x", running("tx", 1))])
        assert isinstance(first, Applied)
        assert isinstance(unknown, Exception)
        assert first.known is not None
        (again,) = await over.apply_many([("job_1", running("t1", 20))], {"job_1": first.known})
        assert isinstance(again, Applied)
        link.close()

    in_a_loop(work)
    job = store.get("job_1")
    assert (job.status, job.attempt and job.attempt.progress, rung) == (Status.RUNNING, 20, [Status.RUNNING] * 2)


def test_a_server_without_the_script_is_told_it(redis_url: str, keys: Keys) -> None:
    """As after a restart: what was asked is written, and whoever was woken up before that is woken up again."""
    store, found = _store(redis_url, keys), list[asyncio.Future[list[Any]]]()
    store.save_script = store._redis.register_script(lua("new_jobs", "save") + f"-- {uuid.uuid4()}")

    async def work() -> None:
        link = Link(redis_url)

        def look(_: Sequence[Applied]) -> None:
            found.append(link.ask([("HGET", keys.job("job_1"), "version")]))

        (outcome,) = await LoopStore(store, link, look).apply_many([("job_1", running("t1", 10))])
        assert isinstance(outcome, Applied)
        assert isinstance(outcome.known, Known)
        assert await found[-1] == [outcome.known.version.encode()], "whoever was woken up came too early"
        link.close()

    in_a_loop(work)
    assert store.get("job_1").status is Status.RUNNING


def test_a_write_whose_answer_was_lost_is_asked_for_again_and_done_once(redis_url: str, keys: Keys) -> None:
    store, rung = _store(redis_url, keys), list[Sequence[Applied]]()
    with relayed(redis_url) as (relay, link):
        relay.strike(Trouble(Ill.LOSE_REPLY, only=b"EVALSHA"))

        async def work() -> None:
            (outcome,) = await LoopStore(store, link, rung.append).apply_many([("job_1", running("t1", 10))])
            assert isinstance(outcome, Applied)
            link.close()

        in_a_loop(work)
    assert len(rung) == 2, "it was not asked for again"
    assert [entry.event for entry in store.history("job_1")].count("task_seen") == 1


def _store(redis_url: str, keys: Keys) -> JobStore:
    """With one job whose first attempt is committed."""
    store = JobStore(connect(redis_url), Policy(), keys)
    now = store.now()
    store.create([new_job(id="job_1", created_at=now, due_at=now, order=1)])
    for event in (events.Release(), events.Claim("w1"), events.Commit(1)):
        store.apply("job_1", event)
    return store

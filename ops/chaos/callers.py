"""Who calls the receiver in a storm: the API with its callbacks, those who send slowly, and those who forge.

Loopback only, and bounded in number and time. Each kind runs in a process of its own, so that it does not slow down
the others, nor what is measured.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

import uvloop

from worker.hooks import Hooks

HOST = "127.0.0.1"
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
# What is due all at once takes as long as the receiver needs, which on a busy machine is long.
LEAST_A_SECOND = 100
# How often it is looked for what is due; what waits meanwhile is late, not slow.
TICK_SECONDS = 0.001
# Several times what the known servers use for their callbacks.
CONNECTIONS = 128
FORGERS = 16
FORGERIES_A_CONNECTION = 50
# What the API says of one job, in order; the last twice, as some servers do.
STEPS: Sequence[tuple[str, int]] = (
    ("SUBMITTED", 0),
    *(("IN_PROGRESS", percent) for percent in (1, 15, 31, 46, 62, 78, 93)),
    ("SUCCESS", 100),
    ("SUCCESS", 100),
)


@dataclass(frozen=True)
class Target:
    """The receiver under fire. The jobs' ids are `name_of(0)` to `name_of(jobs - 1)`, each at its first attempt."""

    port: int
    secret: bytes
    jobs: int
    seconds: float


@dataclass
class Heard:
    """What was answered."""

    codes: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)  # from when it was sent
    late_ms: list[float] = field(default_factory=list)  # from when it should have been sent
    acknowledged: dict[int, int] = field(default_factory=dict)  # job -> the furthest step that got 200
    seconds: float = 0.0
    cpu_seconds: float = 0.0  # of those who call


def name_of(job: int) -> str:
    return f"storm_{job:06}"


def task_of(job: int) -> str:
    return f"task-{job:06}"


def request(path: str, body: bytes, method: str = "POST") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: hooks.example\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def task_json(job: int, status: str, percent: int) -> bytes:
    url = f"https://cdn.example/{job}.png" if status == "SUCCESS" else ""
    fields = {"id": task_of(job), "action": "BLEND", "status": status, "progress": f"{percent}%", "imageUrl": url}
    return json.dumps(fields | {"prompt": "", "submitTime": 1767225600000, "failReason": None}).encode()


# The API -----------------------------------------------------------------------------------------------------------


def honest(target: Target, callbacks: int) -> Heard:
    """Send that many true callbacks, evenly over the time, each when it is due, however long the others take.

    All are made before the first is sent. Each takes a connection that is free; where none is, it waits for one, and
    that counts in `late_ms`.
    """
    plan = deque(_plan(target, callbacks))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_Honest(target, plan).call_all())


@dataclass(slots=True)
class _Call:
    due: float  # seconds from the start
    job: int
    step: int
    message: bytes
    sent: float = 0.0  # by the loop's clock


def _plan(target: Target, callbacks: int) -> Iterator[_Call]:
    """A job's steps in order, many jobs at a time."""
    hooks = Hooks([target.secret], None)
    paths = [f"/hooks/{hooks.token(name_of(job), 1)}" for job in range(target.jobs)]
    for number in range(callbacks):
        step, job = divmod(number, target.jobs)
        status, percent = STEPS[min(step, len(STEPS) - 1)]
        due = number * target.seconds / callbacks
        yield _Call(due, job, step, request(paths[job], task_json(job, status, percent)))


class _Honest:
    """Several connections that are kept open, and what is due on whichever is free."""

    def __init__(self, target: Target, plan: deque[_Call]) -> None:
        self._target = target
        self._plan = plan
        self._left = len(plan)
        self._heard = Heard()
        self._free: list[_Line] = []
        self._busy: set[_Line] = set()

    async def call_all(self) -> Heard:
        self._loop = asyncio.get_running_loop()
        for _ in range(min(CONNECTIONS, self._left)):
            await self._connect()
        self._start, cpu = self._loop.time(), time.process_time()
        async with asyncio.timeout(3 * self._target.seconds + 60 + self._left / LEAST_A_SECOND):
            while self._left:
                self._send_due()
                self._give_up()
                await asyncio.sleep(TICK_SECONDS)
        self._heard.seconds = self._loop.time() - self._start
        self._heard.cpu_seconds = time.process_time() - cpu
        for line in self._free:
            line.transport.close()
        return self._heard

    async def _connect(self) -> None:
        _, line = await self._loop.create_connection(lambda: _Line(self), HOST, self._target.port)
        self._free.append(line)

    def _send_due(self) -> None:
        now = self._loop.time()
        while self._free and self._plan and self._plan[0].due <= now - self._start:
            line = self._free.pop()
            self._busy.add(line)
            line.ask(self._plan.popleft(), now)

    def _give_up(self) -> None:
        too_old = self._loop.time() - ANSWER_SECONDS
        for line in [line for line in self._busy if line.call and line.call.sent < too_old]:
            line.transport.abort()

    def heard(self, line: _Line, call: _Call, code: str) -> None:
        """An answer came, or the connection went: then there is none, and a new connection takes its place."""
        now = self._loop.time()
        self._left -= 1
        self._busy.discard(line)
        self._heard.codes[code] += 1
        self._heard.latencies_ms.append((now - call.sent) * 1000)
        self._heard.late_ms.append((now - self._start - call.due) * 1000)
        if code == "200":
            self._heard.acknowledged[call.job] = max(call.step, self._heard.acknowledged.get(call.job, 0))
        if not line.lost:
            self._free.append(line)
            self._send_due()

    def lost(self, line: _Line) -> None:
        if line in self._free:
            self._free.remove(line)
        if self._left:
            line.successor = self._loop.create_task(self._connect())


class _Line(asyncio.Protocol):
    """One connection: one call at a time. No answer of the receiver has a body."""

    def __init__(self, caller: _Honest) -> None:
        self._caller = caller
        self._answer = b""
        self.call: _Call | None = None
        self.lost = False
        self.successor: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def ask(self, call: _Call, now: float) -> None:
        self.call, call.sent = call, now
        self.transport.write(call.message)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if self._answer.endswith(b"\r\n\r\n"):
            code, self._answer = self._answer[9:12].decode(), b""
            self._done(code)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        self._done(f"none: {type(error).__name__}")
        self._caller.lost(self)

    def _done(self, code: str) -> None:
        if self.call is not None:
            call, self.call = self.call, None
            self._caller.heard(self, call, code)


async def _connect(port: int, source: str = HOST) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(CONNECT_SECONDS):
        return await asyncio.open_connection(HOST, port, local_addr=(source, 0))


# Those who only hold connections open ------------------------------------------------------------------------------


def slow(target: Target, senders: int) -> int:
    """Hold that many connections open, a byte a second; whoever is cut comes again. Returns how often they were."""
    return asyncio.run(_slow(target, senders))


async def _slow(target: Target, senders: int) -> int:
    cuts: Counter[str] = Counter()
    with suppress(TimeoutError):
        async with asyncio.timeout(target.seconds), asyncio.TaskGroup() as group:
            for number in range(senders):
                group.create_task(_dribbles(target, number, cuts))
    return cuts.total()


async def _dribbles(target: Target, number: int, cuts: Counter[str]) -> None:
    """Every other one in the head of a request, the others in the body of a true callback."""
    token = Hooks([target.secret], None).token(name_of(number % target.jobs), 1)
    whole = request(f"/hooks/{token}", b" " * 1000)
    at_once = whole.index(b"\r\n\r\n") + 4 if number % 2 else 10
    while True:
        try:
            _, writer = await _connect(target.port, f"127.2.{number >> 8 & 255}.{number & 255}")
            writer.write(whole[:at_once])
            for byte in whole[at_once:]:
                await asyncio.sleep(1.0)
                writer.write(bytes((byte,)))
                await writer.drain()
        except (OSError, TimeoutError):
            pass
        cuts["cut"] += 1
        await asyncio.sleep(0.1)


# Forgers -----------------------------------------------------------------------------------------------------------


def forgers(target: Target, count: int, seed: int) -> Heard:
    """Send that many forged callbacks for real jobs, from many addresses."""
    return asyncio.run(_forgers(target, count, seed))


async def _forgers(target: Target, count: int, seed: int) -> Heard:
    heard = Heard()
    start = time.monotonic()
    rounds = iter(range(0, count, FORGERIES_A_CONNECTION))
    async with asyncio.timeout(target.seconds), asyncio.TaskGroup() as group:
        for _ in range(FORGERS):
            group.create_task(_forges(target, rounds, count, seed, heard))
    heard.seconds, heard.cpu_seconds = time.monotonic() - start, time.process_time()
    return heard


async def _forges(target: Target, rounds: Iterator[int], count: int, seed: int, heard: Heard) -> None:
    for first in rounds:
        chance = random.Random(seed + first)  # noqa: S311  (a run that can be repeated)
        number = first // FORGERIES_A_CONNECTION
        messages = [forgery(target.jobs, chance) for _ in range(min(FORGERIES_A_CONNECTION, count - first))]
        try:
            reader, writer = await _connect(target.port, f"127.1.{number >> 8 & 255}.{number & 255}")
            writer.write(b"".join(messages))
            for _ in messages:
                async with asyncio.timeout(ANSWER_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                heard.codes[head[9:12].decode()] += 1
            writer.close()
        except (OSError, TimeoutError, EOFError) as error:
            heard.codes[f"none: {type(error).__name__}"] += 1


def forgery(jobs: int, chance: random.Random) -> bytes:
    """A request that would end a real job, were its proof true. Made without the secret: nobody could tell it there."""
    job = chance.randrange(jobs)
    body = task_json(job, "SUCCESS", 100)
    stolen = Hooks([chance.randbytes(32)], None).token(name_of(job), 1)
    name, attempt, mac = stolen.split("/")
    shapes = (
        f"/hooks/{stolen}",
        f"/hooks/{name}/{chance.randrange(2, 99)}/{mac}",
        f"/hooks/{name}/{attempt}/{mac[:-1]}",
        f"/hooks/{name}/{attempt}/{'A' * 43}",
        f"/hooks/{name}/{attempt}/{mac}/",
        f"/hooks/{name}/{attempt}",
        f"/hooks/{name}%00/{attempt}/{mac}",
        f"/hooks//{name}/{attempt}/{mac}",
    )
    return request(chance.choice(shapes), body, chance.choice(("POST", "POST", "POST", "PUT")))

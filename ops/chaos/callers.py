"""Who calls the receiver in a storm: the API with its callbacks, those who send slowly, and those who forge.

Loopback only, and bounded in number and time. Each kind runs in a process of its own, so that it does not slow down
the others, nor what is measured.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from worker.hooks import Hooks

HOST = "127.0.0.1"
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
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
    latencies_ms: list[float] = field(default_factory=list)  # from the first byte sent, connecting included
    late_ms: list[float] = field(default_factory=list)  # from when it should have been sent
    acknowledged: dict[int, int] = field(default_factory=dict)  # job -> the furthest step that got 200
    seconds: float = 0.0


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
    """Send that many true callbacks, evenly over the time, each when it is due, however long the others take."""
    return asyncio.run(_honest(target, callbacks))


async def _honest(target: Target, callbacks: int) -> Heard:
    heard = Heard()
    due = _plan(target, callbacks)
    start = time.monotonic()
    async with asyncio.timeout(3 * target.seconds + 60), asyncio.TaskGroup() as callers:
        for _ in range(min(CONNECTIONS, callbacks)):
            callers.create_task(_calls(target.port, due, start, heard))
    heard.seconds = time.monotonic() - start
    return heard


def _plan(target: Target, callbacks: int) -> Iterator[tuple[float, int, int, bytes]]:
    """When, which job, which step, and the bytes: a job's steps in order, many jobs at a time."""
    hooks = Hooks([target.secret], None)
    for number in range(callbacks):
        step, job = divmod(number, target.jobs)
        status, percent = STEPS[min(step, len(STEPS) - 1)]
        body = task_json(job, status, percent)
        yield number * target.seconds / callbacks, job, step, request(f"/hooks/{hooks.token(name_of(job), 1)}", body)


async def _calls(port: int, due: Iterator[tuple[float, int, int, bytes]], start: float, heard: Heard) -> None:
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    for at, job, step, message in due:
        if (wait := start + at - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        began = time.monotonic()
        try:
            connection = connection or await _connect(port)
            code = await _ask(connection, message)
        except (OSError, TimeoutError, EOFError) as error:
            code, connection = f"none: {type(error).__name__}", None
        done = time.monotonic()
        heard.codes[code] += 1
        heard.latencies_ms.append((done - began) * 1000)
        heard.late_ms.append((done - start - at) * 1000)
        if code == "200":
            heard.acknowledged[job] = max(step, heard.acknowledged.get(job, 0))
    if connection:
        connection[1].close()


async def _connect(port: int, source: str = HOST) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(CONNECT_SECONDS):
        return await asyncio.open_connection(HOST, port, local_addr=(source, 0))


async def _ask(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], message: bytes) -> str:
    """The code of the answer. No answer of the receiver has a body."""
    reader, writer = connection
    writer.write(message)
    async with asyncio.timeout(ANSWER_SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
    return head[9:12].decode()


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
    heard.seconds = time.monotonic() - start
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

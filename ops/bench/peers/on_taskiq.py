"""The same on taskiq: asyncio, one httpx.AsyncClient, a Redis stream whose messages are acknowledged when done.

python -m ops.bench.peers.on_taskiq worker CONCURRENCY | receiver PORT | enqueue < JOBS
"""

from __future__ import annotations

import asyncio
import os
import sys
from functools import cache

import httpx
from taskiq_redis import RedisStreamBroker

from ops.bench.peers import receiver, work

broker = RedisStreamBroker(url=work.REDIS)


@cache
def http() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=work.TIMEOUT_SECONDS, headers=work.HEADERS)


@broker.task("submit")  # type: ignore[untyped-decorator]
async def submit(job_id: str) -> None:
    answer = await http().post(work.SUBMIT_URL, json=work.body(job_id, work.images_of(job_id)))
    work.submitted(job_id, answer.raise_for_status().json())


@broker.task("collect")  # type: ignore[untyped-decorator]
async def collect(job_id: str, url: str) -> None:
    work.keep(job_id, (await http().get(url)).raise_for_status().content)


async def _enqueue() -> None:
    await broker.startup()
    for job_id, images in work.read_jobs():
        work.create(job_id, images)
        await submit.kiq(job_id)
    await broker.shutdown()


def main(verb: str, number: str = "") -> None:
    match verb:
        case "worker":
            os.execv(sys.executable, [sys.executable, "-m", "taskiq", "worker", "ops.bench.peers.on_taskiq:broker",  # noqa: S606
                                      "--workers", "1", "--max-async-tasks", number])  # fmt: skip
        case "receiver":
            receiver.run_async(int(number), collect.kiq)
        case "enqueue":
            asyncio.run(_enqueue())


if __name__ == "__main__":
    main(*sys.argv[1:])

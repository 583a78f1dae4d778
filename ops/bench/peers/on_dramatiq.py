"""The same on dramatiq: processes with threads; a message is acknowledged when its work is done.

python -m ops.bench.peers.on_dramatiq worker CONCURRENCY | receiver PORT | enqueue < JOBS
"""

from __future__ import annotations

import logging
import os
import sys
from functools import cache

import dramatiq
import httpx
from dramatiq.brokers.redis import RedisBroker

from ops.bench.peers import receiver, work

PROCESSES = 2
logging.getLogger("httpx").setLevel(logging.WARNING)  # else dramatiq's workers write a line for each request
broker = RedisBroker(url=work.REDIS)
dramatiq.set_broker(broker)


@cache
def http() -> httpx.Client:
    return httpx.Client(timeout=work.TIMEOUT_SECONDS, headers=work.HEADERS)


@dramatiq.actor  # type: ignore[untyped-decorator]
def submit(job_id: str) -> None:
    answer = http().post(work.SUBMIT_URL, json=work.body(job_id, work.images_of(job_id)))
    work.submitted(job_id, answer.raise_for_status().json())


@dramatiq.actor  # type: ignore[untyped-decorator]
def collect(job_id: str, url: str) -> None:
    work.keep(job_id, http().get(url).raise_for_status().content)


def main(verb: str, number: str = "") -> None:
    match verb:
        case "worker":
            threads = max(1, int(number) // PROCESSES)
            os.execv(sys.executable, [sys.executable, "-m", "dramatiq", "ops.bench.peers.on_dramatiq",  # noqa: S606
                                      "--processes", str(PROCESSES), "--threads", str(threads)])  # fmt: skip
        case "receiver":
            receiver.run(int(number), collect.send)
        case "enqueue":
            work.put_in(submit.send)


if __name__ == "__main__":
    main(*sys.argv[1:])

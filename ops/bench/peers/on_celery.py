"""The strong Celery idiom: prefork, late acknowledgement, one httpx.Client a process, a hash for each job.

python -m ops.bench.peers.on_celery worker CONCURRENCY | receiver PORT | enqueue < JOBS
"""

from __future__ import annotations

import sys
from functools import cache

import httpx
from celery import Celery

from ops.bench.peers import receiver, work

app = Celery("peer", broker=work.REDIS.replace("unix://", "redis+socket://"))
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    broker_connection_retry_on_startup=True,
)


@cache
def http() -> httpx.Client:
    return httpx.Client(timeout=work.TIMEOUT_SECONDS, headers=work.HEADERS)


@app.task(name="submit", autoretry_for=(httpx.TransportError,), retry_backoff=True)  # type: ignore[untyped-decorator]
def submit(job_id: str) -> None:
    answer = http().post(work.SUBMIT_URL, json=work.body(job_id, work.images_of(job_id)))
    work.submitted(job_id, answer.raise_for_status().json())


@app.task(name="collect", autoretry_for=(httpx.HTTPError,), retry_backoff=True)  # type: ignore[untyped-decorator]
def collect(job_id: str, url: str) -> None:
    work.keep(job_id, http().get(url).raise_for_status().content)


def main(verb: str, number: str = "") -> None:
    match verb:
        case "worker":
            app.worker_main(["worker", "-P", "prefork", "-c", number, "-O", "fair", "--without-gossip",
                             "--without-mingle", "-l", "WARNING"])  # fmt: skip
        case "receiver":
            receiver.run(int(number), collect.delay)
        case "enqueue":
            work.put_in(submit.delay)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What all peers do alike: a hash for each job, the API's body, the callback's address, the picture's file.

Told by the environment where everything is, as such programs are.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import redis

REDIS = os.environ.get("PEER_REDIS", "redis://localhost")
API = os.environ.get("PEER_API", "http://localhost:8080")
HOOKS = os.environ.get("PEER_HOOKS", "http://localhost:8791")
SECRET = os.environ.get("PEER_SECRET", "secret").encode()
OUT = Path(os.environ.get("PEER_OUT", "out"))
FINISHED = "finished"  # counter: jobs that have their picture

SUBMIT_URL = f"{API}/mj/submit/blend"
HEADERS = {"mj-api-secret": "bench"}
TIMEOUT_SECONDS = 60.0


@cache
def store() -> redis.Redis:
    """One client a process."""
    return redis.Redis.from_url(REDIS, decode_responses=True)


def read_jobs() -> Iterator[tuple[str, list[str]]]:
    return map(job_of, sys.stdin)


def put_in(send: Callable[[str], object]) -> None:
    """Enqueue the jobs of stdin; prints what it took as JSON, but for the first, which connects.

    Args:
        send: hands a job's id to the workers.
    """
    count, began, cpu = -1, 0.0, 0.0
    for job_id, images in read_jobs():
        create(job_id, images)
        send(job_id)
        count += 1
        if count == 0:
            began, cpu = time.perf_counter(), time.process_time()
    took = {"jobs": count, "seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps(took))


def job_of(line: str) -> tuple[str, list[str]]:
    """A job as it is handed in: a JSON line with its id and its pictures."""
    job_id, images = json.loads(line)
    return job_id, images


def create(job_id: str, images: Iterable[str]) -> None:
    store().hset(f"job:{job_id}", mapping={"status": "waiting", "images": json.dumps(list(images))})


def images_of(job_id: str) -> list[str]:
    return list(json.loads(store().hget(f"job:{job_id}", "images") or "[]"))


def body(job_id: str, images: Iterable[str]) -> dict[str, Any]:
    return {
        "base64Array": [f"data:image/png;base64,{base64.b64encode(Path(one).read_bytes()).decode()}" for one in images],
        "botType": "MID_JOURNEY",
        "dimensions": "SQUARE",
        "notifyHook": f"{HOOKS}/hooks/{job_id}/{mac(job_id)}",
        "state": job_id,
    }


def submitted(job_id: str, answer: dict[str, Any]) -> None:
    """Write down that the API has it; a callback may have been faster."""
    if answer["code"] not in (1, 22):
        raise RuntimeError(f"job {job_id}: the API answered {answer['code']}")
    store().hset(f"job:{job_id}", mapping={"task_id": answer["result"], "submitted_at": time.time()})


def called_back(job_id: str, task: dict[str, Any]) -> str | None:
    """Write down what the API says; returns the picture's link when the task has ended well."""
    store().hset(f"job:{job_id}", mapping={"status": task["status"], "task_id": task["id"]})
    return task["imageUrl"] if task["status"] == "SUCCESS" else None


def keep(job_id: str, picture: bytes) -> None:
    """The picture into its file, and the job into its last status."""
    path = OUT / f"{job_id}.png"
    part = path.with_suffix(".part")
    part.write_bytes(picture)
    part.replace(path)
    pipeline = store().pipeline()
    pipeline.hset(f"job:{job_id}", mapping={"status": "succeeded", "picture": str(path)})
    pipeline.incr(FINISHED)
    pipeline.execute()


def mac(job_id: str) -> str:
    return hmac.new(SECRET, job_id.encode(), hashlib.sha256).hexdigest()

"""What the tests of the producer share."""

from __future__ import annotations

import io
from collections.abc import Iterator

from PIL import Image

from jobs import events
from jobs.attempt import TaskStatus
from jobs.job import Job, Picture
from jobs.request import BlendRequest
from producer import Producer

MISSING = "sha256:" + "00" * 32
UPLOADED = (events.Release(), events.Claim("w"), events.Commit(1))


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (shade % 256, shade // 256, 7)).save(file, "PNG")
    return file.getvalue()


def many(digests: list[str], count: int) -> Iterator[BlendRequest]:
    for number in range(count):
        first, second = divmod(number, len(digests))
        yield BlendRequest(images=(digests[first], digests[second]), custom_id=f"n{number}")


def happen(blends: Producer, job: Job, *happened: events.Event) -> Job:
    for event in happened:
        blends.store.apply(job.id, event)
    return blends.get(job)


def succeed(blends: Producer, job: Job, digest: str) -> Job:
    picture = Picture(digest=digest, media_type="image/png", width=4, height=4, bytes=9, url="https://cdn.test/x")
    seen = events.TaskSeen(1, f"task-{job.id}", TaskStatus.SUCCESS, image_url="https://cdn.test/x")
    return happen(blends, job, *UPLOADED, seen, events.Collected(1, picture))

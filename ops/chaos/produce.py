"""The producer of a fault run: enqueues every job of the run, and notes each acknowledgement durably.

It is killed and started again at any moment, so it does everything anew each time: enqueueing again is harmless.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import random
import time
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from jobs.actions import Action
from jobs.errors import EpochLost, StoreUnavailable
from jobs.request import BlendRequest
from jobs.settings import Settings

CAMPAIGN = "chaos"
ACKNOWLEDGED_FILE = "acknowledged.jsonl"
PLAN_FILE = "plan.json"
DONE_FILE = "enqueued"
RETRY_SECONDS = 0.2
# Enough acknowledgements, one by one, for kills to fall between them; not the whole run in one call.
BATCH_JOBS = 4
PAUSE_SECONDS = 0.05
# Of so many jobs one has follow-ups.
THEN_EVERY = 8
# One picture in so many is of a size that takes several writes to upload.
LARGE_EVERY = 3
LARGE_SIDE = 190


@dataclass(frozen=True)
class Row:
    """One job: the files of its pictures, their digests, which no other job has in this order, and what follows it."""

    images: tuple[str, ...]
    digests: tuple[str, ...]
    then: tuple[str, ...] = ()


def plan(folder: Path, jobs: int, seed: int) -> list[Row]:
    """Make the pictures of a run, and the jobs that blend them: each an ordered pair of its own."""
    count = next(n for n in itertools.count(2) if n * (n - 1) >= jobs)
    pictures = [_picture(folder / "in", number, seed) for number in range(count)]
    pairs = itertools.islice(itertools.permutations(pictures, 2), jobs)
    rows = [Row(tuple(name for name, _ in pair), tuple(digest for _, digest in pair)) for pair in pairs]
    random.Random(seed).shuffle(rows)  # noqa: S311  (repeatable on purpose)
    rows = [replace(row, then=_then(number, seed)) for number, row in enumerate(rows)]
    (folder / PLAN_FILE).write_text(json.dumps([vars(row) for row in rows]), encoding="utf-8")
    return rows


def planned(folder: Path) -> list[Row]:
    rows = json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"))
    return [Row(tuple(row["images"]), tuple(row["digests"]), tuple(row["then"])) for row in rows]


def _then(number: int, seed: int) -> tuple[str, ...]:
    """Drawn apart from all else, so that the other draws of a seed stay what they are."""
    chance = random.Random(f"{seed}-then-{number}")  # noqa: S311  (as above)
    return tuple(chance.sample(list(Action), chance.randint(1, 2))) if chance.randrange(THEN_EVERY) == 0 else ()


def _picture(folder: Path, number: int, seed: int) -> tuple[str, str]:
    folder.mkdir(exist_ok=True)
    chance = random.Random(f"{seed}-{number}")  # noqa: S311  (as above)
    side = LARGE_SIDE if number % LARGE_EVERY == 0 else 24
    out = io.BytesIO()
    Image.frombytes("RGB", (side, side), chance.randbytes(side * side * 3)).save(out, "PNG")
    path = folder / f"{number}.png"
    path.write_bytes(out.getvalue())
    return str(path), hashlib.sha256(out.getvalue()).hexdigest()


def produce(settings: Settings, folder: Path) -> int:
    """Enqueue all, a few at a time; a Redis that is away or empty, and a full disk, are waited for."""
    from producer.client import Producer  # noqa: PLC0415  (patched by now)

    rows = planned(folder)
    with (folder / ACKNOWLEDGED_FILE).open("a", encoding="utf-8") as notes:
        for start in range(0, len(rows), BATCH_JOBS):
            batch = [BlendRequest(images=row.images, then=row.then) for row in rows[start : start + BATCH_JOBS]]
            ids = _enqueue(Producer, settings, batch)
            for number, job_id in enumerate(ids, start):
                notes.write(json.dumps({"row": number, "job": job_id}) + "\n")
            notes.flush()
            os.fsync(notes.fileno())
            time.sleep(PAUSE_SECONDS)
    (folder / DONE_FILE).touch()
    return 0


def _enqueue(producer: type, settings: Settings, batch: list[BlendRequest]) -> list[str]:
    while True:
        try:
            with producer(settings) as blends:
                return [job.id for job, _ in blends.enqueue_batch(batch, campaign=CAMPAIGN)]
        except (StoreUnavailable, EpochLost, OSError):
            time.sleep(RETRY_SECONDS)


def acknowledged(folder: Path) -> dict[str, int]:
    """The jobs that the producer was told are safe, each with its row. A torn last line was not noted."""
    found: dict[str, int] = {}
    try:
        lines = (folder / ACKNOWLEDGED_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return found
    for line in lines:
        try:
            note = json.loads(line)
            found[note["job"]] = note["row"]
        except (ValueError, KeyError):
            continue
    return found

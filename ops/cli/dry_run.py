"""`blendq run --dry-run`: what a run would do, take and cost; nothing is enqueued."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from jobs.errors import ManifestError
from jobs.follow_ups import missing
from jobs.job import Job
from jobs.pictures.images import ImageStore
from jobs.request import BlendRequest
from jobs.settings import Settings
from jobs.slots.found import START_SLOTS
from ops.cli.campaign_run import BATCH_ROWS
from ops.cli.output import duration, print_json, print_pairs
from ops.cli.run_plan import open_pictures
from ops.notes import error
from producer.client import Producer
from producer.identity import job_id
from producer.manifests.manifest import Row, good_rows
from producer.manifests.sources import Source
from producer.smaller import Fit
from producer.upstream import reports

# What a data URL has around its base64.
_DATA_URL_BYTES = len('"data:image/jpeg;base64,",')


@dataclass
class Forecast:
    """Rows by what a run would do with them, and what that takes. `enqueued` are known and not finished, `unpaid` those
    of them that nothing is, or may be, paid for yet; `reused` are new and get the pictures of other campaigns,
    `follow_ups` are those that are not there yet.
    """

    new: int = 0
    enqueued: int = 0
    unpaid: int = 0
    done: int = 0
    reused: int = 0
    duplicate: int = 0
    invalid: int = 0
    follow_ups: int = 0
    bytes_to_send: int = 0
    at_once: int = START_SLOTS
    problem: ManifestError | None = field(default=None, repr=False)

    @property
    def to_pay(self) -> int:
        return self.new + self.unpaid + self.follow_ups

    def numbers(self, settings: Settings) -> dict[str, Any]:
        """As JSON; estimates are of the new rows, those that are not finished, and the follow-ups to come."""
        to_do = self.new + self.enqueued
        price = settings.price_per_job
        return {
            "total": to_do + self.done + self.reused + self.duplicate + self.invalid,
            **{name: getattr(self, name) for name in ("new", "enqueued", "done", "reused", "duplicate", "invalid")},
            "follow_ups": self.follow_ups,
            "bytes_to_send": self.bytes_to_send,
            "at_once": self.at_once,
            "cost": None if price is None else round(self.to_pay * price, 6),
            "seconds": math.ceil((to_do + self.follow_ups) / self.at_once) * settings.seconds_per_job,
        }


def forecast(
    source: Source,
    campaign: str,
    settings: Settings,
    producer: Producer | None,
    fit: Fit | None,
    reuse: bool = False,
) -> Forecast:
    """Check every row and picture, as a run does.

    Args:
        source: the rows.
        campaign: whose jobs they would be.
        settings: of the stack that would run.
        producer: knows which of them are jobs already; None where there are no jobs at all.
        fit: what the pictures are made to be like.
        reuse: the pictures of other campaigns will do.

    Raises:
        ManifestError: the manifest itself is bad; bad rows are counted, and named by `problem`.
    """
    found = Forecast(at_once=_slots(settings, producer))
    with open_pictures(settings, fit) as pictures:
        sizes = _Sizes(pictures.images)
        rows = _noting_bad(good_rows(source.name, pictures.prepare(source.rows())), found)
        seen: set[str] = set()
        while batch := list(islice(rows, BATCH_ROWS)):
            _add(found, _fresh(batch, campaign, seen, found), producer, sizes, reuse)
    return found


def _slots(settings: Settings, producer: Producer | None) -> int:
    """As many as were set; else as many as were found so far, which is what blendq begins with where nothing was."""
    found = reports(producer.store, settings) if producer else []
    return sum(one.door.slots for one in found) or settings.slots or START_SLOTS


def _noting_bad(rows: Iterator[Row], found: Forecast) -> Iterator[Row]:
    try:
        yield from rows
    except ManifestError as bad:
        if not bad.count:
            raise
        found.invalid, found.problem = bad.count, bad


def _fresh(batch: Sequence[Row], campaign: str, seen: set[str], found: Forecast) -> dict[str, Row]:
    """The jobs of these rows that no earlier row has."""
    fresh: dict[str, Row] = {}
    for row in batch:
        job = job_id(row.request, campaign, take=row.take)
        if job in seen:
            found.duplicate += 1
        else:
            seen.add(job)
            fresh[job] = row
    return fresh


def _add(found: Forecast, fresh: Mapping[str, Row], producer: Producer | None, sizes: _Sizes, reuse: bool) -> None:
    known = producer.store.find_many(list(fresh)) if producer else [None] * len(fresh)
    found.follow_ups += sum(_to_come(row.request, job) for row, job in zip(fresh.values(), known, strict=True))
    found.done += sum(job is not None and job.status.final for job in known)
    found.enqueued += sum(job is not None and not job.status.final for job in known)
    new = [row for row, job in zip(fresh.values(), known, strict=True) if job is None]
    waiting = [row for row, job in zip(fresh.values(), known, strict=True) if job is not None and _unpaid(job)]
    if producer and reuse:
        all_new, new, waiting = len(new), _not_reused(new, producer), _not_reused(waiting, producer)
        found.reused += all_new - len(new)
    found.new += len(new)
    found.unpaid += len(waiting)
    found.bytes_to_send += sum(sizes.sent(image) for row in (*new, *waiting) for image in row.request.images)


def _unpaid(job: Job) -> bool:
    return not (job.status.final or job.submissions or job.uncertain)


def _not_reused(rows: Sequence[Row], producer: Producer) -> list[Row]:
    """The rows for which no other campaign has a picture; further blends of a row are wanted for themselves."""
    others = producer.reusable([row.request for row in rows])
    return [row for row, other in zip(rows, others, strict=True) if other is None or row.take > 1]


def _to_come(request: BlendRequest, job: Job | None) -> int:
    """How many follow-ups the run would add."""
    if job is None:
        return len(request.then)
    waiting = () if job.status.final else job.request.then
    return len(missing(job, request.then)) + len(waiting)


class _Sizes:
    """What pictures take in a request, each looked up once."""

    def __init__(self, images: ImageStore) -> None:
        self._images = images
        self._bytes: dict[str, int] = {}

    def sent(self, digest: str) -> int:
        if digest not in self._bytes:
            stored = self._images.find(digest)
            self._bytes[digest] = math.ceil(stored.bytes / 3) * 4 + _DATA_URL_BYTES if stored else 0
        return self._bytes[digest]


def report(found: Forecast, campaign: str, settings: Settings, as_json: bool) -> int:
    """Print it; returns the exit code."""
    numbers = found.numbers(settings) | {"campaign": campaign}
    if as_json:
        print_json(numbers)
    else:
        print_pairs(_words(found, numbers, settings))
    if found.problem is None:
        return 0
    error(str(found.problem))
    return found.problem.exit_code


def _words(found: Forecast, numbers: Mapping[str, Any], settings: Settings) -> dict[str, object]:
    how = f"{numbers['at_once']} at once, {settings.seconds_per_job:g} s each"
    words: dict[str, object] = {
        "campaign": numbers["campaign"],
        "rows": numbers["total"],
        "new": numbers["new"],
        "enqueued before": numbers["enqueued"],
        "done before": numbers["done"],
        "reused": f"{numbers['reused']} (pictures of other campaigns, not paid again)",
        "duplicates": f"{numbers['duplicate']} (the same content as another row: one job, paid once)",
        "invalid": numbers["invalid"],
        "follow-ups": numbers["follow_ups"],
        "to send": f"{numbers['bytes_to_send'] / 1e6:,.1f} MB",
        "time": f"about {duration(numbers['seconds'])} ({how})",
    }
    if not numbers["reused"]:
        del words["reused"]
    cost = "unknown: give --price, or set BLENDQ_PRICE_PER_JOB"
    if numbers["cost"] is not None:
        cost = f"{numbers['cost']:,.2f} ({found.to_pay} at {settings.price_per_job:g})"
    return words | {"cost": cost, "": "nothing was enqueued or sent"}

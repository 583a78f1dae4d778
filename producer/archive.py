"""Archive: the whole record of a finished campaign in a file, read back before it is forgotten in Redis.

Gzipped JSON lines: the first about the campaign, then one a job, with its record and its history. Only what the file
says word for word is forgotten; so whoever was interrupted does it again, with the same file.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from jobs.errors import BlendqError
from jobs.files import sync_folder
from jobs.job import Job, Status
from jobs.pictures.images import ImageStore
from jobs.report import rfc3339
from jobs.store import JobStore
from jobs.writing.docs import to_doc
from producer.campaign import CampaignSummary, summary
from producer.files import atomic_file
from producer.report import campaign_json

PAGE_JOBS = 100
_KIND = "blendq campaign"


@dataclass(frozen=True)
class Archived:
    """What came of it. `changed` counts jobs that are others than in the file, and so were not forgotten."""

    file: Path
    jobs: int
    forgotten: int
    changed: int
    pictures_dropped: int


def archive(store: JobStore, images: ImageStore, campaign: str, file: Path, *, drop_pictures: bool = False) -> Archived:
    """
    Args:
        store: where the jobs are.
        images: where their pictures are.
        campaign: its name; every job of it is finished.
        file: to be written. One that is there already is read instead, and must be of this campaign.
        drop_pictures: the finished pictures go too, but for those that another record names.

    Raises:
        CampaignNotFound: there is no such campaign.
        BlendqError: a job is not finished; or the file cannot be written, or is no archive of this campaign. Nothing
            was forgotten.
    """
    found = summary(store, campaign)
    if found.unfinished:
        raise BlendqError(
            f"campaign {campaign}: {found.unfinished} of its {found.total} jobs are not finished. Wait for them: "
            f"blendq campaign watch {campaign}; or give them up: blendq campaign cancel {campaign}"
        )
    try:
        if not file.exists():
            _write(store, found, file)
        # Else a power cut could take the file's name, and Redis has the jobs no more.
        sync_folder(file.absolute().parent)
        count = sum(1 for _ in read(file, campaign))
    except OSError as error:
        raise BlendqError(
            f"{file}: {error.strerror or error}; nothing was forgotten, choose another with --to"
        ) from error
    forgotten, pictures = _forget(store, campaign, file)
    dropped = _drop(store, images, pictures) if drop_pictures else 0
    left = store.counts(campaign)
    return Archived(file, count, forgotten, sum(left.get(status, 0) for status in Status), dropped)


def read(file: Path, campaign: str) -> Iterator[Job]:
    """The jobs of an archive, as they were; the whole file is checked when the last one has come.

    Raises:
        OSError: it cannot be read.
        BlendqError: it is no archive of this campaign, or is not whole.
    """
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            head = json.loads(next(lines))
            if (head["kind"], head["campaign"]["name"]) != (_KIND, campaign):
                raise BlendqError(f"{file}: is the archive of another campaign; choose another file with --to")
            count = 0
            for count, line in enumerate(lines, 1):  # noqa: B007  (looked at below)
                yield Job.model_validate(json.loads(line)["job"])
    except (gzip.BadGzipFile, zlib.error, EOFError, StopIteration, KeyError, TypeError, ValueError) as error:
        raise BlendqError(f"{file}: is no archive, or a broken one; choose another file with --to") from error
    if count != head["campaign"]["total"]:
        raise BlendqError(f"{file}: has {count} jobs of {head['campaign']['total']}; choose another file with --to")


def _write(store: JobStore, found: CampaignSummary, file: Path) -> None:
    head = {"kind": _KIND, "archived_at": rfc3339(store.now()), "campaign": campaign_json(found)}
    with atomic_file(file) as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as out:
        out.write(_line(head))
        jobs = store.campaign_jobs(found.name)
        while page := list(islice(jobs, PAGE_JOBS)):
            for job, history in zip(page, store.histories(page), strict=True):
                lived = [entry.model_dump(mode="json", exclude_defaults=True) for entry in history]
                out.write(_line({"job": json.loads(to_doc(job)), "history": lived}))


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _forget(store: JobStore, campaign: str, file: Path) -> tuple[int, set[str]]:
    """Forget the jobs that are as the file has them; how many, and the pictures that they had."""
    jobs = read(file, campaign)
    forgotten, pictures = 0, set[str]()
    while page := list(islice(jobs, PAGE_JOBS)):
        forgotten += store.delete([job.id for job in page], as_read=page)
        pictures |= {job.picture.digest for job in page if job.picture}
    return forgotten, pictures


def _drop(store: JobStore, images: ImageStore, pictures: set[str]) -> int:
    """Remove these pictures, but for those that a record names: as its own, another's, or one to be blended."""
    for name, _ in store.campaigns():
        for job in store.campaign_jobs(name):
            pictures.difference_update(job.request.images, [job.picture.digest] if job.picture else [])
    return sum(images.remove(digest) for digest in pictures)

"""Records: the jobs of one blendq, as they are kept in Redis; for reading."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import redis

from jobs.errors import JobNotFound
from jobs.history import HistoryEntry
from jobs.job import Job
from jobs.keys import Keys
from jobs.packing import unpacked
from jobs.server import ServerClock, from_ms, server_time, to_bytes, to_text, to_time, unavailable
from jobs.telling.changes import NEWEST, Changed, Changes
from jobs.writing.docs import from_doc

RECORD = ("doc", "version")
# Places in the order of all jobs are counted from 1.
BEFORE_ALL = -1

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """A record as it was when it was last read or written. Somebody may have written it since.

    `name` is that of the write, where it was written: with it, it may be kept for as long as one likes. `counts`, what
    the job adds to the counts, where it was counted already.
    """

    job: Job
    version: str
    name: str = field(default="", compare=False)
    counts: Mapping[str, int] | None = field(default=None, compare=False, repr=False)


NOTHING_KNOWN: Mapping[str, Known] = {}


class Records:
    """
    Args:
        client: from `server.connect`.
        keys: the names of the keys.

    Every method raises StoreUnavailable when Redis does not answer in time.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self.keys = keys
        self._clock = ServerClock()
        self._changes = Changes(client, self.keys)

    def find(self, job_id: str) -> Job | None:
        with unavailable():
            doc = self._redis.hget(self.keys.job(job_id), "doc")
        return None if doc is None else from_doc(doc)

    def get(self, job_id: str) -> Job:
        """
        Raises:
            JobNotFound: there is no such job.
        """
        if (job := self.find(job_id)) is None:
            raise JobNotFound(f"there is no job {job_id!r}; `blendq campaign list` shows what there is")
        return job

    def read(self, job_id: str) -> Known:
        """As `get`, for whoever will `apply` something to just this record."""
        _, (record,) = self._load([job_id])
        return known_as(job_id, record)

    def find_by_picture(self, digest: str) -> str | None:
        """The id of the job that this picture was made for."""
        with unavailable():
            owner = self._redis.hget(self.keys.pictures, digest)
        return None if owner is None else to_text(owner)

    def find_many(self, job_ids: Sequence[str]) -> list[Job | None]:
        """The jobs in the order asked for, in one round trip."""
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in job_ids:
                pipeline.hget(self.keys.job(job_id), "doc")
            docs: list[Any] = pipeline.execute() if job_ids else []
        return [None if doc is None else from_doc(doc) for doc in docs]

    def readable(self, job_ids: Sequence[str]) -> list[Job]:
        """Those jobs that there are. One that cannot be read is told of in the log, and holds up none of the others."""
        _, found = self._load(job_ids) if job_ids else (None, [])
        jobs = []
        for job_id, record in zip(job_ids, found, strict=True):
            try:
                jobs.append(known_as(job_id, record).job)
            except JobNotFound:
                pass
            except (ValueError, zlib.error) as error:  # a defect of ours
                _log.error("job=%s cannot be read (%s)", job_id, type(error).__name__)
        return jobs

    def history(self, job_id: str) -> list[HistoryEntry]:
        """What the job has been through, the oldest first; the enqueueing is told by the record itself."""
        return self.histories([self.get(job_id)])[0]

    def histories(self, jobs: Sequence[Job]) -> list[list[HistoryEntry]]:
        """As `history`, of several jobs in one round trip."""
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for job in jobs:
                pipeline.lrange(self.keys.history(job.id), 0, -1)
            found: list[Any] = pipeline.execute() if jobs else []
        return [
            [
                HistoryEntry.enqueued(job),
                *(HistoryEntry.model_validate_json(unpacked(to_bytes(line))) for line in lines),
            ]
            for job, lines in zip(jobs, found, strict=True)
        ]

    def counts(self, campaign: str | None = None) -> dict[str, int]:
        """The tally of one campaign, or of all jobs: a count for each status, submissions, and so on."""
        key = self.keys.counts if campaign is None else self.keys.campaign_counts(campaign)
        with unavailable():
            found: Any = self._redis.hgetall(key)
        return {name: int(count) for raw, count in found.items() if int(count) and ":" not in (name := to_text(raw))}

    def campaigns(self) -> list[tuple[str, datetime]]:
        """Every campaign with the time of its first job, the oldest first."""
        with unavailable():
            found: Any = self._redis.zrange(self.keys.campaigns, 0, -1, withscores=True)
        return [(to_text(name), from_ms(ms)) for name, ms in found]

    def campaign_began(self, campaign: str) -> datetime | None:
        """When its first job was enqueued; None when there is no such campaign."""
        with unavailable():
            ms: Any = self._redis.zscore(self.keys.campaigns, campaign)
        return None if ms is None else from_ms(ms)

    def campaign_jobs(self, campaign: str, page: int = 500) -> Iterator[Job]:
        """The campaign's jobs in the order they were enqueued, read page by page."""
        after: int | None = BEFORE_ALL
        while after is not None:
            jobs, after = self.campaign_page(campaign, after, page)
            yield from jobs

    def newest_failures(self, campaign: str, count: int) -> list[Job]:
        """The campaign's jobs that failed or are parked, the last to end first; at most `count`."""
        with unavailable():
            ids: Any = self._redis.zrange(self.keys.campaign_failures(campaign), 0, count - 1, desc=True)
        found = [job for job in self.find_many([to_text(one) for one in ids]) if job]
        return sorted(found, key=lambda job: (job.finished_at or job.created_at, job.order), reverse=True)

    def changes(self, after: str = NEWEST, count: int = 100, block_seconds: float = 0) -> list[Changed]:
        """What has become of jobs since a change, the oldest first. See `Changes.after`.

        Raises:
            ChangesMissed: that change is no longer kept; others after it may be gone too.
        """
        return self._changes.after(after, count, block_seconds)

    def newest_change(self) -> str:
        """Where to begin with `changes`, for whoever wants what comes from now on."""
        return self._changes.newest()

    def campaign_page(self, campaign: str, after: int, count: int) -> tuple[list[Job], int | None]:
        """As `campaign_ids`, the jobs themselves; forgotten ones are left out."""
        ids, end = self.campaign_ids(campaign, after, count)
        return [job for job in self.find_many(ids) if job], end

    def campaign_ids(self, campaign: str, after: int, count: int) -> tuple[list[str], int | None]:
        """Some of the campaign's jobs, in the order they were enqueued.

        Args:
            campaign: its name.
            after: begin behind the job of this `order`.
            count: how many at most.

        Returns:
            Their ids, and where the next page begins; None when this is the last one.
        """
        key = self.keys.campaign_jobs(campaign)
        with unavailable():
            found: Any = self._redis.zrange(
                key, f"({after}", "+inf", byscore=True, offset=0, num=count, withscores=True
            )
        return [to_text(job_id) for job_id, _ in found], int(found[-1][1]) if len(found) == count else None

    def now(self) -> datetime:
        """The server's clock, the only one that counts."""
        return server_time(self._redis)

    def _load(self, job_ids: Sequence[str]) -> tuple[datetime, list[Any]]:
        """The server's clock, and for each job its record and version as kept there, or an error; one round trip."""
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.time()
            for job_id in job_ids:
                pipeline.hmget(self.keys.job(job_id), RECORD)
            return self.loaded(pipeline.execute(raise_on_error=False))

    def loaded(self, answers: Sequence[Any]) -> tuple[datetime, list[Any]]:
        """From what the server answers to TIME, and for each job to HMGET of RECORD: its clock, and for each job its
        record and version as kept there, or an error.
        """
        if isinstance(answers[0], Exception):
            raise answers[0]
        now = to_time(*answers[0])
        self._clock.set(now)
        return now, list(answers[1:])


def known_as(job_id: str, record: Any) -> Known:
    """The job and its version, from what the server has of it."""
    with unavailable():
        if isinstance(record, Exception):
            raise record
    doc, version = record
    if doc is None:
        raise JobNotFound(f"there is no job {job_id!r}; `blendq campaign list` shows what there is")
    return Known(from_doc(doc), to_text(version))

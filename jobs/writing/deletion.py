"""Deletion: a finished job that is to be forgotten, as `lua/delete.lua` takes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from jobs.content import content_id
from jobs.idempotency import digest_of
from jobs.job import Job, Status
from jobs.keys import Keys
from jobs.slots.plan import purged
from jobs.writing.tallies import tally
from jobs.writing.write import task_claim


@dataclass(frozen=True)
class Deletion:
    """A finished job that is to be forgotten."""

    keys: Sequence[str]
    args: str

    @classmethod
    def of(cls, keys: Keys, job: Job, version: str) -> Self:
        """
        Args:
            keys: the store's.
            job: the record as it was read.
            version: of the record, as it was read.
        """
        own = [
            keys.job(job.id),
            keys.history(job.id),
            keys.campaign_counts(job.campaign),
            keys.campaign_jobs(job.campaign),
            keys.campaign_plan(job.campaign),
            keys.campaign_pause(job.campaign),
            keys.campaign_failures(job.campaign),
            keys.idempotency(digest_of(job.idempotency_key or "")),  # an empty key names nothing
            keys.campaign_turn(job.campaign),
        ]
        counts = tally(job)
        facts = {
            "id": job.id,
            "campaign": job.campaign,
            "version": version,
            "tasks": [task_claim(job, attempt.number, attempt.task_id) for attempt in job.attempts if attempt.task_id],
            "pictures": [job.picture.digest] if job.picture else [],
            "contents": [content_id(job.request)] if job.status is Status.SUCCEEDED else [],
            "tally": counts,
            "purged": purged(counts),
        }
        return cls(own, json.dumps(facts))

"""The judgement of a long run: each submission once, and each finished job with its own picture."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass

from jobs.errors import PictureMissing
from jobs.job import Job, Status
from ops.bench.long_run.apis import JudgedApi
from producer.client import Producer


@dataclass(frozen=True)
class Verdict:
    """
    Args:
        jobs: by status, as their records say one by one.
        lost: that the tally of all jobs has, and nobody finds.
        submissions: that the API has accepted.
        paid_twice: of them, those of a blend that it had accepted before.
        unpaid: finished jobs more than there are blends that it has accepted.
        without_picture: finished jobs whose picture is not there, or is another's.
    """

    jobs: dict[str, int]
    lost: int
    submissions: int
    paid_twice: int
    unpaid: int
    without_picture: int

    @property
    def problems(self) -> dict[str, int]:
        ended = {f"{name} jobs": self.jobs.get(name, 0) for name in (Status.FAILED, Status.PARKED, Status.CANCELLED)}
        broken = {name: value for name, value in asdict(self).items() if name not in ("jobs", "submissions")}
        return {name: count for name, count in (ended | broken).items() if count}


def judge(producer: Producer, api: JudgedApi, campaign: str) -> Verdict:
    """Read every record and every picture; nobody works meanwhile."""
    statuses: Counter[str] = Counter()
    without = 0
    for job in producer.store.campaign_jobs(campaign):
        statuses[job.status.value] += 1
        without += job.status is Status.SUCCEEDED and not _has_picture(producer, api, job)
    counts = producer.store.counts(campaign)
    tally = sum(counts.get(status, 0) for status in Status)
    paid = api.paid()
    return Verdict(
        jobs=dict(statuses),
        lost=tally - statuses.total(),
        submissions=paid.submissions,
        paid_twice=paid.submissions - paid.blends,
        unpaid=max(0, statuses[Status.SUCCEEDED] - paid.blends),
        without_picture=without,
    )


def _has_picture(producer: Producer, api: JudgedApi, job: Job) -> bool:
    if job.picture is None:
        return False
    try:
        with producer.images.open(job.picture.digest) as file:
            return api.is_of(job, file.read())
    except PictureMissing:
        return False

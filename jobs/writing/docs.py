"""Docs: records as JSON, as they are kept."""

from __future__ import annotations

from jobs.job import Job
from jobs.packing import RECORDS, unpacked
from jobs.server import to_bytes

# What `model_dump_json` calls, which itself takes a fifth of the time.
_dump = Job.__pydantic_serializer__.to_json


def to_doc(job: Job) -> str:
    """The record as JSON."""
    return _dump(job, exclude_defaults=True).decode()


def from_doc(kept: bytes | str) -> Job:
    """The job of a record, as it is kept."""
    return Job.model_validate_json(unpacked(to_bytes(kept)))


def to_kept(job: Job) -> bytes:
    """The record as it is kept: packed, once it is to be kept for long."""
    doc = _dump(job, exclude_defaults=True)
    return RECORDS.pack(doc) if job.status.final else doc


class Docs:
    """As `to_doc`, of jobs that differ in id, request, key and place alone: the rest is written once for all of them.

    Args:
        like: one of them.
    """

    _PLACE = -987654321

    def __init__(self, like: Job) -> None:
        own = like.request.model_dump_json(exclude_defaults=True)
        doc = to_doc(like.but(id="", idempotency_key=None, order=self._PLACE))
        self._before, rest = doc.removeprefix('{"id":""').split(own)
        self._between, self._after = rest.split(str(self._PLACE))

    def of(self, job: Job) -> str:
        if job.idempotency_key or not job.order:
            return to_doc(job)
        own = job.request.model_dump_json(exclude_defaults=True)
        return f'{{"id":"{job.id}"{self._before}{own}{self._between}{job.order}{self._after}'

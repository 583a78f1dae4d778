"""Changes: a stream of what has become of jobs, for whoever wants to follow along without asking about each.

An entry is written in the same step as the record, and says only what a person would see; jobs that come to the same
together share one. The stream is kept short: whoever was away for too long is told so, and reads the records, which
are the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import redis

from jobs.errors import ChangesMissed
from jobs.job import Job, Status
from jobs.keys import Keys
from jobs.server import SOCKET_TIMEOUT_SECONDS, to_text, unavailable

NEWEST = "$"
BEGINNING = "0-0"
# Between the id of an entry and the number of a job in it.
_WITHIN = "."
# The client gives up waiting for an answer after its own time; Redis must answer before.
MAX_BLOCK_SECONDS = SOCKET_TIMEOUT_SECONDS / 2
# Between its release and the API's answer a job is being submitted; how far it is with that is our own affair.
_ONE_STATUS = {Status.RELEASED: Status.SUBMITTING, Status.COMMITTED: Status.SUBMITTING}


@dataclass(frozen=True)
class Changed:
    """One change. `id` is the place to go on from; `status` is never released or committed; `progress` in percent.

    The id is that of the entry, for the last job that the entry names; the others' have a number behind it.
    """

    id: str
    job_id: str
    campaign: str
    status: Status
    progress: int | None


def shown(job: Job) -> tuple[Status, int | None]:
    """What people see of a job: its status and its progress. A change is an entry only when it changes this."""
    attempt = job.attempt
    return _ONE_STATUS.get(job.status, job.status), attempt.progress if attempt else None


def entry(job: Job) -> list[str]:
    """What `save.lua` and `create.lua` write of a job: campaign, status, progress (empty for none)."""
    status, progress = shown(job)
    return [job.campaign, str(status), "" if progress is None else str(progress)]


def present(job: Job, place: str) -> Changed:
    """A job as it is, told as a change.

    Args:
        job: as it was read after `place` was the newest change.
        place: where to go on from.
    """
    status, progress = shown(job)
    return Changed(place, job.id, job.campaign, status, progress)


class Changes:
    """
    Args:
        client: from `server.connect`.
        keys: the same as the store's.

    Every method raises StoreUnavailable when Redis does not answer in time.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._key = keys.changes

    def newest(self) -> str:
        """The place to go on from for whoever wants only what comes next."""
        with unavailable():
            found: Any = self._redis.xrevrange(self._key, count=1)
        return to_text(found[0][0]) if found else BEGINNING

    def after(self, place: str, count: int, block_seconds: float) -> list[Changed]:
        """
        Args:
            place: the `id` of the last change that was read; BEGINNING for all that are kept; NEWEST for what
                comes from now on (with `block_seconds`; use `newest` to miss nothing between two calls).
            count: how many entries at most; one may tell of 50 jobs.
            block_seconds: wait so long for one to come, and at most MAX_BLOCK_SECONDS; 0: do not wait.

        Raises:
            ChangesMissed: that change is gone, and others after it may be gone too.
        """
        found = [] if place == NEWEST else self._kept_after(place, count)
        if found or block_seconds <= 0:
            return found
        block_ms = max(1, int(min(block_seconds, MAX_BLOCK_SECONDS) * 1000))
        with unavailable():
            streams: Any = self._redis.xread({self._key: _entry_of(place)}, count=count, block=block_ms)
        return [change for _, entries in _pairs(streams) for change in _changed(entries)]

    def _kept_after(self, place: str, count: int) -> list[Changed]:
        """Read from `place` itself on: if it is there, so is everything after it."""
        if place == BEGINNING:
            with unavailable():
                entries: Any = self._redis.xrange(self._key, count=count)
            return _changed(entries)
        with unavailable():
            entries = self._redis.xrange(self._key, min=_entry_of(place), count=count + 1)
        if not entries or to_text(entries[0][0]) != _entry_of(place):
            raise ChangesMissed(
                f"the change {place} is no longer kept, so some after it may be missing: read the jobs themselves, "
                "then go on from the newest"
            )
        last = place_of(place)
        return [change for change in _changed(entries) if place_of(change.id) > last]


def place_of(change_id: str) -> tuple[int, int, float]:
    """Where a change stands, to be compared: milliseconds, the number of the entry within them, and that within it."""
    entry_id, _, number = change_id.partition(_WITHIN)
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence), int(number) if number else inf


def _entry_of(place: str) -> str:
    return place.partition(_WITHIN)[0]


def _pairs(streams: Any) -> list[tuple[Any, Any]]:
    """redis-py gives a list or, by RESP3, a mapping of streams."""
    return list(streams.items()) if isinstance(streams, Mapping) else list(streams or [])


def _changed(entries: Iterable[tuple[Any, Mapping[Any, Any]]]) -> list[Changed]:
    return [change for entry_id, fields in entries for change in _of_entry(to_text(entry_id), fields)]


def _of_entry(entry_id: str, fields: Mapping[Any, Any]) -> Iterator[Changed]:
    found = {to_text(name): to_text(value) for name, value in fields.items()}
    status, progress = Status(found["status"]), int(found["progress"]) if found["progress"] else None
    *others, last = found["job"].split()
    for number, job_id in enumerate(others, 1):
        yield Changed(f"{entry_id}{_WITHIN}{number}", job_id, found["campaign"], status, progress)
    yield Changed(entry_id, last, found["campaign"], status, progress)

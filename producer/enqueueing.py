"""Enqueueing: requests become jobs, each under the id that its content, or its key, gives it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import NamedTuple

from jobs.applying import Applied
from jobs.epoch import Epoch
from jobs.errors import InvalidRequest, RowProblem
from jobs.events import Act, Event, Reuse
from jobs.follow_ups import missing
from jobs.job import Job
from jobs.pictures.images import ImageStore
from jobs.request import BlendRequest
from jobs.store import JobStore
from producer.ahead import Step, one_ahead
from producer.identity import job_id
from producer.manifests.manifest import Row, with_known_upstreams
from producer.pictures import Pictures
from producer.places import Places

# One script call each: large enough that the round trips and the fsync cost little, small enough that the server
# is never busy with one of them for long.
BATCH_JOBS = 500
MAX_PROBLEMS_SHOWN = 10


class _Named(NamedTuple):
    """A request under the id of its job, which may have another's picture if `reuse`."""

    id: str
    request: BlendRequest
    key: str | None = None
    reuse: bool = False


# For each its job, and whether that is new, or why it cannot be.
_Created = list[tuple[Job, bool | InvalidRequest]]


class Enqueueing:
    """What `Producer` does to enqueue; its methods say what is promised.

    Args:
        store: where the jobs are kept.
        images: where their pictures are.
        epoch: of that Redis.
        upstreams: the names of the APIs that jobs may be for; none where only the workers know them.
        wake_dispatch: called when there is a new job.
    """

    def __init__(
        self,
        store: JobStore,
        images: ImageStore,
        epoch: Epoch,
        upstreams: Sequence[str],
        wake_dispatch: Callable[[], None],
    ) -> None:
        self._store = store
        self._images = images
        self._epoch = epoch
        self._upstreams = upstreams
        self._wake_dispatch = wake_dispatch

    def each(
        self,
        requests: Sequence[BlendRequest],
        keys: Sequence[str | None],
        campaign: str,
        pictures: Pictures,
        reuse: bool = False,
    ) -> list[Job | InvalidRequest]:
        """For each request its job, or what is wrong with it."""
        rows = list(self._prepared(requests, pictures))
        good = [(row, key) for row, key in zip(rows, keys, strict=True) if isinstance(row, Row)]
        named = [_Named(job_id(row.request, campaign, key), row.request, key, reuse) for row, key in good]
        outcomes: dict[int, Job | InvalidRequest] = {
            row.line: row.kind(row.problem) for row in rows if isinstance(row, RowProblem)
        }
        created = self._step(named, campaign, Places(self._store, self._epoch))()() if named else []
        for (row, _), (job, said) in zip(good, created, strict=True):
            outcomes[row.line] = said if isinstance(said, InvalidRequest) else job
        return [outcomes[row.line] for row in rows]

    def stream(
        self, requests: Iterable[BlendRequest], campaign: str, pictures: Pictures, reuse: bool = False
    ) -> Iterator[Job]:
        """Their jobs, a batch at a time."""
        rows = self._prepared(requests, pictures)
        batches = iter(lambda: _all_good(islice(rows, BATCH_JOBS)), [])
        named = ([_Named(job_id(one, campaign), one, reuse=reuse) for one in stored] for stored in batches)
        # Whoever makes requests one by one may need time for the next: those that there are need not wait for it.
        waits = not isinstance(requests, Sequence)
        with closing(self._create(named, campaign, waits=waits)) as created:
            for jobs in created:
                yield from (job for job, _ in jobs)

    def batch(
        self,
        requests: Sequence[BlendRequest],
        takes: Sequence[int] | None,
        campaign: str,
        pictures: Pictures,
        reuse: bool = False,
    ) -> list[tuple[Job, bool]]:
        """Their jobs, and which of them are new; none, when any picture is bad."""
        stored = _all_good(self._prepared(requests, pictures))
        counted = zip(stored, takes or [1] * len(stored), strict=True)
        named = [
            _Named(job_id(request, campaign, take=take), request, reuse=reuse and take == 1)
            for request, take in counted
        ]
        batches = (named[start : start + BATCH_JOBS] for start in range(0, len(named), BATCH_JOBS))
        return [(job, said is True) for jobs in self._create(batches, campaign) for job, said in jobs]

    def reusable(self, requests: Sequence[BlendRequest]) -> list[Job | None]:
        """For each request a job that has succeeded with the same content, and whose picture is here.

        None for one that has follow-ups: only the API can carry a grid on, and only for the task that it made it in.
        """
        found = self._store.reusable(requests)
        return [
            job if job and job.picture and not asked.then and self._images.find(job.picture.digest) else None
            for job, asked in zip(found, requests, strict=True)
        ]

    def _prepared(self, requests: Iterable[BlendRequest], pictures: Pictures) -> Iterator[Row | RowProblem]:
        rows = (Row(number, request) for number, request in enumerate(requests, 1))
        return pictures.prepare(with_known_upstreams(rows, self._upstreams))

    def _create(
        self, batches: Iterable[Sequence[_Named]], campaign: str, *, waits: bool = False
    ) -> Generator[_Created, None, None]:
        """For each batch what became of it. While Redis creates one, the next is made ready.

        Args:
            batches: at least one each.
            campaign: of all of them.
            waits: the next batch may be long in coming: each is told of before.
        """
        places = Places(self._store, self._epoch)

        def steps() -> Iterator[Step[_Created]]:
            for named in batches:
                yield self._step(named, campaign, places)
                if waits:
                    yield None

        return one_ahead(steps())

    def _step(self, named: Sequence[_Named], campaign: str, places: Places) -> Callable[[], Callable[[], _Created]]:
        """The creation of a batch, made ready to begin and to end."""
        epoch, now, first = places.take(len(named))
        # One is validated; the others differ from it in what was validated before.
        like = Job(id=named[0].id, campaign=campaign, request=named[0].request, created_at=now, due_at=now)
        jobs = [
            like.but(id=one.id, request=one.request, idempotency_key=one.key, order=order)
            for order, one in enumerate(named, first)
        ]
        reuses = self._reuses([job for job, one in zip(jobs, named, strict=True) if one.reuse])
        creation = self._store.creation(jobs, epoch, reuses)

        def begin() -> Callable[[], _Created]:
            answer = self._store.begin(creation)
            return lambda: self._outcome(jobs, answer(), reuses)

        return begin

    def _outcome(
        self, jobs: Sequence[Job], created: Sequence[bool | InvalidRequest], reuses: Mapping[str, Reuse]
    ) -> _Created:
        if any(said is True for said in created):
            self._wake_dispatch()
        there = [job.id for job, said in zip(jobs, created, strict=True) if said is False]
        self._apply([(one, reuses[one]) for one in there if one in reuses])  # while nothing became of it
        old = [*there, *reuses]
        known = {job.id: job for job in self._store.find_many(old) if job}
        known |= self._wanting_more(known, [job for job in jobs if job.id in known])
        return [(known.get(job.id, job), said) for job, said in zip(jobs, created, strict=True)]

    def _wanting_more(self, known: Mapping[str, Job], asked: Sequence[Job]) -> dict[str, Job]:
        """Jobs that were there already, of which more is wanted now than was then; those that had a key cannot be."""
        wants = [(job.id, Act(job.request.then)) for job in asked if missing(known[job.id], job.request.then)]
        applied = self._apply(wants)
        if wants:
            self._wake_dispatch()
        return {one.after.id: one.after for one in applied}

    def _apply(self, happened: Sequence[tuple[str, Event]]) -> list[Applied]:
        """Raises the first problem; what was done is found by the same call again."""
        outcomes = self._store.apply_many(happened)
        if failed := next((one for one in outcomes if isinstance(one, Exception)), None):
            raise failed
        return [one for one in outcomes if isinstance(one, Applied)]

    def _reuses(self, jobs: Sequence[Job]) -> dict[str, Reuse]:
        """Which of these new jobs may have whose picture."""
        others = self.reusable([job.request for job in jobs])
        return {
            job.id: Reuse(other.id, other.picture)
            for job, other in zip(jobs, others, strict=True)
            if other and other.picture and other.id != job.id
        }


def _all_good(rows: Iterable[Row | RowProblem]) -> list[BlendRequest]:
    """The requests with their pictures stored; or one error that names every bad one."""
    found = list(rows)
    bad = [row for row in found if isinstance(row, RowProblem)]
    if not bad:
        return [row.request for row in found if isinstance(row, Row)]
    if len(found) == 1:
        raise bad[0].kind(bad[0].problem)
    more = f"; and {len(bad) - MAX_PROBLEMS_SHOWN} more" if len(bad) > MAX_PROBLEMS_SHOWN else ""
    shown = "; ".join(f"request {row.line}: {row.problem}" for row in bad[:MAX_PROBLEMS_SHOWN])
    raise bad[0].kind(shown + more)

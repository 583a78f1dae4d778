"""CampaignControl: what a person or a service may order for a campaign as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from pydantic import ValidationError

from jobs.errors import BlendqError, UsageError
from jobs.events import Cancel, Event, Retry
from jobs.job import RETRIABLE, Job, Status
from jobs.plain_words import in_plain_words
from jobs.slots.pause import PERSON, Pause
from jobs.slots.plan import Plan
from jobs.store import JobStore
from producer.campaign import summary

# So many share two round trips and one flush to the disk.
BATCH_JOBS = 100


@dataclass(frozen=True)
class Ordered:
    """What an order to many jobs came to: how many it changed, by the status in which it left them."""

    changed: Mapping[Status, int] = field(default_factory=dict)
    unchanged: int = 0

    @property
    def total(self) -> int:
        return sum(self.changed.values())


class CampaignControl:
    """One campaign. From `Producer.campaign`.

    Args:
        store: where the jobs are.
        name: the campaign's.
        wake: called when jobs may go.
        collect: called when there are pictures to fetch.

    Every method raises StoreUnavailable when Redis does not answer; the same order again is always safe.
    """

    def __init__(self, store: JobStore, name: str, wake: Callable[[], None], collect: Callable[[], None]) -> None:
        self.name = name
        self._store = store
        self._wake = wake
        self._collect = collect

    def must_exist(self) -> None:
        """
        Raises:
            CampaignNotFound: no job was ever enqueued under this name.
        """
        summary(self._store, self.name)

    def jobs(self, statuses: Collection[Status] = frozenset(Status), kinds: Collection[str] = ()) -> Iterator[Job]:
        """Its jobs in the order they were enqueued, read page by page.

        Args:
            statuses: only those in one of them.
            kinds: only those whose reason is of one of these kinds; none for any.
        """
        for job in self._store.campaign_jobs(self.name):
            if job.status in statuses and (not kinds or (job.reason is not None and job.reason.kind in kinds)):
                yield job

    # Its plan, and pauses --------------------------------------------------------------------------------------

    @property
    def plan(self) -> Plan:
        return self._store.turns.plan(self.name)

    def change_plan(self, **changes: object) -> Plan:
        """Ask for something else from now on; it may be done before the first job is enqueued.

        Args:
            changes: fields of `Plan`; None lifts a bound.

        Raises:
            UsageError: says which value cannot be.
        """
        try:
            plan = Plan.model_validate(self.plan.model_dump() | changes)
        except ValidationError as error:
            raise UsageError(in_plain_words(error)) from error
        self._store.turns.keep_plan(self.name, plan)
        self._wake()
        return plan

    @property
    def paused(self) -> Pause | None:
        """Why nothing more of it is submitted; None while it goes on."""
        return self._store.turns.paused(self.name)

    def pause(self, why: str = "by a person's order") -> bool:
        """Submit nothing more of it. What the API has goes on. Returns whether it went on until now."""
        self.must_exist()
        return self._store.turns.pause(self.name, PERSON, why)

    def resume(self) -> bool:
        """Go on; the failures so far are forgiven. Returns whether it was paused.

        Raises:
            BlendqError: its budget is spent.
        """
        self.must_exist()
        counts = self._store.turns.counts(self.name)
        plan = self.plan.forgiving(counts)
        if (why := plan.reason_to_pause(counts)) is not None:
            raise BlendqError(
                f"campaign {self.name}: {why[1]}; allow more: blendq campaign plan {self.name} --max-submissions N"
            )
        self._store.turns.keep_plan(self.name, plan)
        was_paused = self._store.turns.resume(self.name)
        self._wake()
        return was_paused

    # Its jobs --------------------------------------------------------------------------------------------------

    def cancel(self, but: Collection[str] = ()) -> Ordered:
        """Give every job up that is not finished. What the API has is cancelled there, if the API can.

        Args:
            but: the ids of those that go on.
        """
        self.must_exist()
        unfinished = self.jobs(statuses=frozenset(one for one in Status if not one.final))
        return self._order(Cancel(), (job for job in unfinished if job.id not in but))

    def retry(self, statuses: Collection[Status] = (Status.FAILED,), kinds: Collection[str] = ()) -> Ordered:
        """Try jobs again that have ended without a picture.

        Args:
            statuses: of failed, cancelled and parked. A parked job may have been paid for: this may pay again.
            kinds: only those whose reason is of one of these kinds ("timeout", "unsure", …); none for any.

        Raises:
            UsageError: a job in one of these statuses cannot be tried again.
        """
        self.must_exist()
        if wrong := sorted(set(statuses) - RETRIABLE):
            raise UsageError(f"{wrong[0]}: only failed, cancelled and parked jobs can be tried again")
        return self._order(Retry(), self.jobs(statuses, kinds))

    def purge(self, older_than: timedelta = timedelta()) -> int:
        """Forget finished jobs: their records and histories; their pictures stay in the image store.

        The same content enqueued again is then a new job, and is paid for again. Callbacks for them find nothing.

        Args:
            older_than: only those that finished so long ago.

        Returns:
            how many were forgotten.
        """
        return sum(self._store.delete(batch) for batch in _batches(self.purgeable(older_than)))

    def purgeable(self, older_than: timedelta = timedelta()) -> list[str]:
        """The ids that `purge` would forget; a job only after its follow-ups, which are nothing without it."""
        self.must_exist()
        before = self._store.now() - older_than
        found: list[str] = []
        needed: set[str] = set()
        for job_id, parent, finished_at in reversed([_end(job) for job in self.jobs()]):
            if job_id not in needed and finished_at is not None and finished_at <= before:
                found.append(job_id)
            elif parent is not None:
                needed.add(parent)
        return found

    def _order(self, event: Event, jobs: Iterable[Job]) -> Ordered:
        changed: Counter[Status] = Counter()
        unchanged, to_fetch = 0, False
        for batch in _batches(job.id for job in jobs):
            for outcome in self._store.apply_many([(job_id, event) for job_id in batch]):
                if isinstance(outcome, Exception):
                    raise outcome
                changed[outcome.after.status] += outcome.changed
                unchanged += not outcome.changed
                to_fetch = to_fetch or outcome.to_fetch
        self._wake()
        if to_fetch:
            self._collect()
        return Ordered({status: changed[status] for status in Status if changed[status]}, unchanged)


def _end(job: Job) -> tuple[str, str | None, datetime | None]:
    """A job's id, that of its parent, and when it finished, if it has."""
    return job.id, job.follows.job_id if job.follows else None, job.finished_at if job.status.final else None


def _batches(ids: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(ids)
    while batch := list(islice(rest, BATCH_JOBS)):
        yield batch

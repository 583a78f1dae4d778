"""Pages of jobs: a cursor names a campaign and a place in it, so a page costs the same wherever it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from jobs.job import Job, Status
from jobs.store import JobStore
from producer.api.parts import MAX_PAGE, bad_cursor
from producer.api.views import JobPage, JobView

# A page that finds little among many ends here, and says where to go on.
MAX_PAGES_READ = 25


def page_of_jobs(
    store: JobStore, names: Sequence[str] | None, statuses: Collection[Status], limit: int, after: str | None
) -> JobPage:
    """
    Args:
        store: where the jobs are.
        names: campaigns; None for all, the oldest first.
        statuses: only jobs in one of them.
        limit: how many at most.
        after: the `next` of the page before.

    Raises:
        UsageError: no such cursor in this list.
    """
    if names is None:
        names = [name for name, _ in store.campaigns()]
    found: list[Job] = []
    for number, (jobs, goes_on) in enumerate(_pages(store, names, after), 1):
        for job in jobs:
            if job.status in statuses:
                if len(found) == limit:
                    return _page(found, f"{found[-1].campaign}:{found[-1].order}")
                found.append(job)
        if number == MAX_PAGES_READ:
            return _page(found, goes_on)
    return _page(found, None)


def _page(jobs: Sequence[Job], goes_on: str | None) -> JobPage:
    return JobPage(data=[JobView.of(job) for job in jobs], has_more=goes_on is not None, next=goes_on)


def _pages(store: JobStore, names: Sequence[str], after: str | None) -> Iterator[tuple[list[Job], str | None]]:
    """The jobs as they are read, with the cursor of what comes behind them; None at the end."""
    first, start = _begin(names, after)
    for number, name in enumerate(names[first:], first + 1):
        place: int | None = start
        while place is not None:
            jobs, place = store.campaign_page(name, place, MAX_PAGE)
            behind = f"{names[number]}:0" if number < len(names) else None
            yield jobs, behind if place is None else f"{name}:{place}"
        start = 0


def _begin(names: Sequence[str], after: str | None) -> tuple[int, int]:
    if after is None:
        return 0, 0
    name, _, order = after.rpartition(":")
    if name not in names or not (order.isascii() and order.isdigit()) or len(order) > 15:
        raise bad_cursor()
    return names.index(name), int(order)

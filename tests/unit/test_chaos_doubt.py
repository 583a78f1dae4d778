"""The judge of doubt: a job may be parked as unsure only when a fault struck between its commit and its answer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jobs.history import HistoryEntry
from jobs.job import Status
from ops.chaos.doubt import Doubt, Doubts, Gap, Span, gaps

ANSWER_SECONDS = 2.0
COMMITTED, ENDED = 10.0, 10.5


def entry(at: float, event: str, after: Status) -> HistoryEntry:
    return HistoryEntry(at=datetime.fromtimestamp(at, UTC), event=event, after=after)


def unanswered(committed: float = COMMITTED, ended: float = ENDED) -> list[HistoryEntry]:
    return [
        entry(committed - 1.0, "claim", Status.SUBMITTING),
        entry(committed, "commit", Status.COMMITTED),
        entry(ended, "no_answer", Status.UNSURE),
        entry(ended + 8.0, "deadline", Status.PARKED),
    ]


def judged(*spans: Span, history: list[HistoryEntry] | None = None, parked: bool = True) -> Doubt:
    doubts = Doubts(spans, ANSWER_SECONDS)
    doubts.add("job_a", unanswered() if history is None else history, parked=parked)
    return doubts.found


def span(began: float, ended: float, number: int = 0) -> Span:
    return Span(number, "api-cut-answer", began, ended)


@pytest.mark.parametrize(("began", "ended"), [(9.0, 10.1), (10.2, 10.3), (10.4, 12.0), (9.0, 12.0)])
def test_a_fault_in_the_gap_explains_a_parked_job(began: float, ended: float) -> None:
    assert judged(span(began, ended)) == Doubt(caught=1, parked=1, most_parked_by_one_fault=1)


@pytest.mark.parametrize(("began", "ended"), [(8.0, 9.9), (10.6, 12.0)])
def test_a_fault_before_the_commit_or_after_the_answer_explains_nothing(began: float, ended: float) -> None:
    assert len(judged(span(began, ended)).without_fault) == 1


def test_no_fault_is_needed_where_the_api_took_too_long_to_answer() -> None:
    found = judged(history=unanswered(ended=COMMITTED + ANSWER_SECONDS))
    assert (found.too_slow, found.without_fault) == (1, [])


def test_a_worker_that_is_told_to_leave_excuses_nothing() -> None:
    assert len(judged(Span(0, "worker-term", 9.0, 12.0)).without_fault) == 1


def test_a_worker_that_is_lost_is_never_a_slow_answer() -> None:
    history = [entry(10.0, "commit", Status.COMMITTED), entry(14.0, "lease_end", Status.UNSURE)]
    assert len(judged(history=history).without_fault) == 1


def test_only_the_last_submission_counts() -> None:
    refused = [entry(1.0, "commit", Status.COMMITTED), entry(2.0, "answer", Status.WAITING)]
    found = judged(span(1.0, 2.0), history=[*refused, *unanswered()])
    assert (found.caught, len(found.without_fault)) == (1, 1)


def test_one_fault_may_catch_several() -> None:
    doubts = Doubts([span(9.0, 12.0)], ANSWER_SECONDS)
    for job in ("job_a", "job_b"):
        doubts.add(job, unanswered(), parked=True)
    doubts.add("job_c", unanswered(), parked=False)
    assert doubts.found == Doubt(caught=3, parked=2, most_parked_by_one_fault=2)


def test_a_job_without_any_commit_has_no_gap_and_no_excuse() -> None:
    assert list(gaps([entry(1.0, "claim", Status.SUBMITTING)])) == []
    assert len(judged(span(0.0, 99.0), history=[]).without_fault) == 1


def test_what_leaves_it_committed_does_not_end_the_gap() -> None:
    twice = [entry(1.0, "commit", Status.COMMITTED), entry(2.0, "task_missing", Status.COMMITTED)]
    assert list(gaps([*twice, entry(3.0, "answer", Status.ACCEPTED)])) == [Gap(1.0, 3.0, "answer")]

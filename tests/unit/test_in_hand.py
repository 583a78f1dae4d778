"""Records in hand: only what was written here, each for one caller, and no more than was asked for."""

from __future__ import annotations

from datetime import UTC, datetime

from jobs.applying import Applied
from jobs.job import Job
from jobs.records import Known
from jobs.request import BlendRequest
from worker.in_hand import InHand


def applied(job_id: str, name: str = "name") -> Applied:
    request = BlendRequest(images=("a", "b"))
    job = Job(id=job_id, request=request, created_at=datetime(2026, 1, 1, tzinfo=UTC))
    return Applied(job, job, Known(job, "1", name))


def test_each_is_taken_once() -> None:
    hand = InHand(10)
    hand.keep(written := applied("a"))
    assert (hand.take("a"), hand.take("a"), hand.take("b")) == (written.known, None, None)


def test_the_oldest_are_forgotten() -> None:
    hand = InHand(2)
    for job_id in ("a", "b", "a", "c"):
        hand.keep(applied(job_id))
    assert [bool(hand.take(job_id)) for job_id in "abc"] == [True, False, True]


def test_what_was_only_read_is_not_kept_nor_what_stood_there_before() -> None:
    hand = InHand(2)
    hand.keep(applied("a"))
    hand.keep(applied("a", name=""))
    assert hand.take("a") is None

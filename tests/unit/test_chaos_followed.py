"""The judge of follow-ups: each exactly once, told apart by what the API was paid for and what it draws."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.actions import Action
from jobs.attempt import Attempt
from jobs.follow_ups import follow_up_id
from jobs.job import Job, Reason, Status
from ops.chaos.followed import Followed
from ops.chaos.watch import Gone, drawn_for, paid_for
from ops.sandbox.changes import read_change
from ops.sandbox.pictures import PictureSpec
from ops.sandbox.tasks import Status as TaskStatus
from ops.sandbox.tasks import Task
from tests.unit.lifecycle_world import START, new_job

INPUTS = ("a" * 64, "b" * 64)
GRID = Task(
    id="7",
    instance_id="account-2",
    serial=0,
    action="BLEND",
    description="",
    picture=PictureSpec(INPUTS, "SQUARE"),
    status=TaskStatus.SUCCESS,
)


@pytest.mark.parametrize("action", Action)
def test_what_is_paid_for_and_what_is_drawn_is_one_follow_ups(action: Action) -> None:
    memory: Any = {"7": GRID}
    draft = read_change({"taskId": "7", "action": action.kind, "index": action.quarter}, memory)
    paid = {"inputs": list(draft.picture.inputs), "action": draft.action, "options": draft.options}
    assert draft.instance_id == "account-2", "where the grid was made"
    assert paid_for(paid) == drawn_for(draft.picture.as_json()) == (*INPUTS, action)


def test_a_blend_is_known_by_its_pictures_alone() -> None:
    assert paid_for({"inputs": list(INPUTS), "action": "BLEND", "options": {}}) == INPUTS
    assert drawn_for(GRID.picture.as_json()) == INPUTS


def judged(job: Job, then: Sequence[str], gone: Gone | None = None) -> Followed:
    watch: Any = SimpleNamespace(gone=gone or Gone(), store=SimpleNamespace(find_many=lambda _ids: []))
    return Followed({job.id: (job, then)}, watch)


def grid(*follow_ups: str, **fields: Any) -> Job:
    attempt = Attempt(number=1, claimed_at=START, task_id="7")
    return new_job(status=Status.SUCCEEDED, attempts=(attempt,), current=1, follow_ups=follow_ups).but(**fields)


UPSCALE = follow_up_id(grid(), Action.U2)


def test_each_follow_up_is_there_once() -> None:
    found = judged(grid(UPSCALE), ["U2"])
    assert (found.lost, found.wrong, found.orphans) == ([], [], set())
    assert found.inputs == {UPSCALE: (*INPUTS, "U2")}


@pytest.mark.parametrize(
    ("job", "then", "lost", "wrong"),
    [
        (grid(), ["U2"], 1, 0),
        (grid(UPSCALE, UPSCALE), ["U2"], 0, 1),
        (grid(UPSCALE), [], 0, 1),
        (grid(UPSCALE, status=Status.FAILED, reason=Reason(kind="timeout", message="")), ["U2"], 0, 1),
        (grid(status=Status.FAILED, reason=Reason(kind="timeout", message="")), ["U2"], 0, 0),
    ],
    ids=["missing", "twice", "never asked for", "of a failure", "none of a failure"],
)
def test_what_is_missing_or_too_much_is_told(job: Job, then: list[str], lost: int, wrong: int) -> None:
    found = judged(job, then)
    assert (len(found.lost), len(found.wrong)) == (lost, wrong)


def test_a_follow_up_whose_grid_the_api_forgot_may_fail() -> None:
    gone = Gone()
    gone.note("7", 1.0, "forgotten")
    assert judged(grid(UPSCALE), ["U2"], gone).orphans == {UPSCALE}

"""More is wanted of a finished grid: from Python, and on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.actions import Action
from jobs.errors import InvalidRequest, JobNotFound, NotAGrid, UsageError
from jobs.job import Job, Status
from producer import BlendRequest, Producer
from tests.integration.commands import succeed


@pytest.fixture
def grid(blends: Producer, pictures: list[str]) -> Job:
    """A finished one, of pictures that no other test has."""
    job = blends.enqueue(BlendRequest(images=pictures, custom_id="whale"))
    succeed(blends, job.id)
    return blends.get(job)


def test_an_action_is_a_job_and_the_same_one_each_time(blends: Producer, grid: Job) -> None:
    """I2: an acknowledgement that was lost is asked for again."""
    job = blends.act(grid, "U2")
    assert (job.status, job.campaign, job.request.custom_id) == (Status.WAITING, "default", "whale-U2")
    assert blends.act(grid.id, Action.U2) == job
    assert blends.act_all(grid, ["u2", "V1"]) == [job, *blends.act_all(grid, ["V1"])]
    assert [one.request.custom_id for one in blends.follow_ups(blends.get(grid))] == ["whale-U2", "whale-V1"]


def test_again_is_one_more(blends: Producer, grid: Job) -> None:
    first, second = blends.act(grid, "R"), blends.act(grid, "R", again=True)
    assert (first.request.custom_id, second.request.custom_id) == ("whale-R", "whale-R-2")
    with pytest.raises(UsageError, match="same picture each time"):
        blends.act(grid, "U1", again=True)


def test_only_a_finished_grid_can_be_carried_on(blends: Producer, pictures: list[str], grid: Job) -> None:
    waiting = blends.enqueue(BlendRequest(images=pictures[::-1]))
    with pytest.raises(NotAGrid, match="is waiting, and has no grid"):
        blends.act(waiting, "U1")
    with pytest.raises(NotAGrid, match="is an upscale"):
        blends.act(blends.act(grid, "U1"), "V1")
    with pytest.raises(JobNotFound):
        blends.act("job_none", "V1")
    with pytest.raises(InvalidRequest, match="'U5' is not a valid Action; there are U1,"):
        blends.act(grid, "U5")


def test_enqueued_again_with_more_wishes_it_is_carried_on(blends: Producer, pictures: list[str]) -> None:
    """A row of a manifest that got its `then` after it was run: only what is missing is paid."""
    job = blends.enqueue(BlendRequest(images=pictures, then=["U1"]))
    again = blends.enqueue(BlendRequest(images=pictures, then=["V2"]))
    assert (again.id, again.request.then) == (job.id, (Action.U1, Action.V2))
    succeed(blends, job.id)
    for wanted in (["U1"], ["U1", "R"]):
        carried_on = blends.enqueue(BlendRequest(images=pictures, then=wanted))
    labels = [one.follows.label for one in blends.follow_ups(carried_on) if one.follows]
    assert labels == ["U1", "V2", "R"]


def test_two_rows_of_one_batch_may_want_different_things_of_one_blend(blends: Producer, pictures: list[str]) -> None:
    rows = [BlendRequest(images=pictures, then=["U1"]), BlendRequest(images=pictures, then=["U2"])]
    (_, new), (second, also_new) = blends.enqueue_batch(rows, campaign="default")
    assert (new, also_new, second.request.then) == (True, False, (Action.U1, Action.U2))


def test_follow_ups_are_counted_and_cancelled_with_their_campaign(blends: Producer, pictures: list[str]) -> None:
    job = blends.enqueue(BlendRequest(images=pictures, then=["U1", "V1"]), campaign="carried-on")
    succeed(blends, job.id)
    control = blends.campaign(job.campaign)
    assert blends.store.counts(job.campaign) == {"succeeded": 1, "submissions": 1, "waiting": 2}
    assert control.cancel().changed == {Status.CANCELLED: 2}


def test_a_job_is_purged_only_with_what_follows_it(blends: Producer, pictures: list[str]) -> None:
    job = blends.enqueue(BlendRequest(images=pictures, then=["U1", "V1"]), campaign="purged-together")
    succeed(blends, job.id)
    upscale, variation = blends.get(job).follow_ups
    control = blends.campaign("purged-together")
    blends.cancel(upscale)
    assert control.purgeable() == [upscale]
    blends.cancel(variation)
    assert control.purgeable() == [variation, upscale, job.id]
    assert control.purge() == 3


# On the command line -----------------------------------------------------------------------------------------------


def test_act_prints_the_ids_and_show_tells_of_them(call: Any, blends: Producer, grid: Job) -> None:
    done = call("job", "act", grid.id, "u2", "V1")
    upscale, variation = done.out.split()
    assert (done.code, blends.get(upscale).request.custom_id) == (0, "whale-U2")
    assert call("job", "act", grid.id, "U2").out.split() == [upscale]
    again = call("job", "act", grid.id, "V1", "--again", "--json").json
    assert (again["parent_id"], again["action"], again["custom_id"]) == (grid.id, "V1", "whale-V1-2")
    shown = call("job", "show", grid.id).out
    assert f"U2   {upscale}  waiting" in shown
    assert f"V1-2 {again['id']}  waiting" in shown
    assert f"U2 of {grid.id}" in call("job", "show", upscale).out
    record = call("job", "show", grid.id, "--json").json
    assert [one["action"] for one in record["follow_ups"]] == ["U2", "V1", "V1"]
    assert call("job", "show", variation, "--json").json["parent_id"] == grid.id


def test_act_says_what_it_cannot(call: Any, grid: Job) -> None:
    assert call("job", "act", grid.id, "U9").code == 4
    wrong = call("job", "act", grid.id, "U1", "--again")
    assert (wrong.code, wrong.out) == (2, "")
    assert "same picture each time" in wrong.err
    assert call("job", "act", grid.id, "U1", "--timeout", "3").code == 2


def test_submit_takes_what_is_wanted_of_the_blend(call: Any, blends: Producer, pictures: list[str]) -> None:
    job = blends.get(call("submit", *pictures, "--then", "u1,V3").out.strip())
    assert job.request.then == (Action.U1, Action.V3)
    assert "then U1 V3" in call("job", "show", job.id).out

"""Follow-ups: created with their parent's success, submitted for its task, each once; the ledger is the judge (I2)."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.actions import Action
from jobs.events import Act, Conflict, Retry, Reuse
from jobs.follow_ups import follow_up_id
from jobs.job import Job, Status
from tests.integration.workbench import Open, Workbench

ENDED = (Status.SUCCEEDED, Status.FAILED, Status.PARKED)


def blend(bench: Workbench, **options: Any) -> Job:
    bench.add(**options)
    job = bench.work_until(*ENDED)
    assert job.status is Status.SUCCEEDED, bench.history()
    return job


def act(bench: Workbench, *actions: Action, again: bool = False) -> list[str]:
    applied = bench.store.apply("job_1", Act(actions, again))
    return [one for one in applied.after.follow_ups if one not in applied.before.follow_ups]


def task_of(job: Job) -> str:
    assert job.attempt is not None
    assert job.attempt.task_id is not None
    return job.attempt.task_id


def size(job: Job) -> tuple[int, int]:
    assert job.picture is not None
    return job.picture.width, job.picture.height


def paid(bench: Workbench) -> list[tuple[str, str | None]]:
    """What the API was paid for, and for which attempts."""
    return [(entry["action"], entry["token"]) for entry in bench.accepted()]


@pytest.mark.parametrize("personality", ["open-source", "plus", "community", "gateway"])
def test_what_is_wanted_of_a_blend_is_made_once_it_has_succeeded(open_bench: Open, personality: str) -> None:
    bench = open_bench(personality)
    parent = blend(bench, custom_id="whale", dimensions="LANDSCAPE", state="mine", then=("U2", "V1"))
    assert parent.follow_ups == (follow_up_id(parent, Action.U2), follow_up_id(parent, Action.V1))
    upscale, variation = (bench.work_until(*ENDED, job_id=one) for one in parent.follow_ups)
    assert (upscale.status, variation.status) == (Status.SUCCEEDED, Status.SUCCEEDED), bench.history(upscale.id)
    assert (upscale.request.custom_id, variation.request.custom_id) == ("whale-U2", "whale-V1")
    width, height = size(parent)
    assert (size(upscale), size(variation)) == ((width // 2, height // 2), (width, height))
    (again,) = act(bench, Action.R, again=True)
    reroll = bench.work_until(*ENDED, job_id=again)
    assert size(reroll) == (width, height)
    assert sorted(paid(bench)) == sorted(
        [
            ("BLEND", "job_1/1"),
            ("UPSCALE", f"{upscale.id}/1"),
            ("VARIATION", f"{variation.id}/1"),
            ("REROLL", f"{again}/1"),
        ]
    )


def test_the_grid_of_a_variation_can_be_carried_on_and_an_upscale_cannot(open_bench: Open) -> None:
    bench = open_bench("plus")
    blend(bench, custom_id="whale", then=("V4", "U1"))
    parent = bench.store.get("job_1")
    variation, upscale = (bench.work_until(*ENDED, job_id=one) for one in parent.follow_ups)
    assert not bench.store.apply(upscale.id, Act((Action.U1,))).changed
    (grandchild,) = bench.store.apply(variation.id, Act((Action.U3,))).after.follow_ups
    job = bench.work_until(*ENDED, job_id=grandchild)
    assert (job.status, job.request.custom_id) == (Status.SUCCEEDED, "whale-V4-U3")


def test_a_lost_answer_leaves_a_follow_up_unsure_and_it_is_found_by_its_state(open_bench: Open) -> None:
    bench = open_bench("plus")
    blend(bench)
    (child,) = act(bench, Action.V2)
    bench.faults(lose_answer=1.0)
    assert bench.submit(child).status is Status.UNSURE
    bench.faults(lose_answer=0.0)
    assert bench.work_until(*ENDED, job_id=child).status is Status.SUCCEEDED
    assert len(paid(bench)) == 2


@pytest.mark.parametrize("personality", ["open-source", "gateway"])
def test_a_task_that_the_api_forgot_fails_its_follow_up_with_what_to_do(open_bench: Open, personality: str) -> None:
    bench = open_bench(personality)
    blend(bench)
    bench.sandbox.post("/sandbox/forget").raise_for_status()
    (child,) = act(bench, Action.U1)
    job = bench.work_until(*ENDED, job_id=child)
    assert (job.status, job.reason and job.reason.kind) == (Status.FAILED, "no_parent")
    assert "carry on from the new grid" in (job.reason.message if job.reason else "")
    assert len(paid(bench)) == 1


def test_an_upscale_that_the_api_has_already_is_adopted(open_bench: Open) -> None:
    """Code 21: it was asked for by other means; it is not paid again."""
    bench = open_bench("open-source")
    change = {"taskId": task_of(blend(bench)), "action": "UPSCALE", "index": 3}
    bench.sandbox.post("/mj/submit/change", json=change).raise_for_status()
    (child,) = act(bench, Action.U3)
    assert bench.work_until(*ENDED, job_id=child).status is Status.SUCCEEDED
    assert paid(bench) == [("BLEND", "job_1/1"), ("UPSCALE", None)]


def test_nothing_is_sent_for_a_parent_that_was_parked_meanwhile(open_bench: Open) -> None:
    bench = open_bench("plus")
    blend(bench)
    (child,) = act(bench, Action.U1)
    bench.store.apply("job_1", Conflict(other="job_2", what="task 7"))
    job = bench.submit(child)
    assert (job.status, job.reason and job.reason.kind) == (Status.FAILED, "no_parent")
    assert len(paid(bench)) == 1
    bench.store.apply("job_1", Retry())
    bench.work_until(Status.SUCCEEDED)
    bench.store.apply(child, Retry())
    assert bench.work_until(*ENDED, job_id=child).status is Status.SUCCEEDED


def test_nothing_is_sent_for_a_parent_that_has_the_picture_of_another(open_bench: Open) -> None:
    """Its row got a `then` after it was run with --reuse."""
    bench = open_bench("plus")
    source = blend(bench)
    assert source.picture is not None
    now = bench.store.now()
    parent = Job(id="job_2", request=source.request, created_at=now, due_at=now, order=bench.store.next_orders(1))
    bench.store.create([parent], reuses={parent.id: Reuse(source.id, source.picture)})
    (child,) = bench.store.apply(parent.id, Act((Action.U1,))).after.follow_ups
    job = bench.submit(child)
    assert (job.status, job.reason and job.reason.kind) == (Status.FAILED, "no_parent")
    assert "carry that one on" in (job.reason.message if job.reason else "")
    assert len(paid(bench)) == 1


@pytest.mark.parametrize(("fault", "paused"), [({"fail_queries": 1.0}, None), ({"refuse_key": True}, "key")])
def test_while_the_api_cannot_be_asked_a_follow_up_waits(
    open_bench: Open, fault: dict[str, Any], paused: str | None
) -> None:
    bench = open_bench("plus")
    blend(bench)
    bench.faults(**fault)
    (child,) = act(bench, Action.U1)
    job = bench.submit(child)
    assert (job.status, job.backoffs, job.commits) == (Status.WAITING, 1, 0)
    pause = bench.pause
    assert (pause.kind if pause else None) == paused


# Seeds --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("personality", "fetch_seeds", "told"),
    [("community", False, True), ("plus", True, True), ("plus", False, False), ("open-source", True, False)],
    ids=["a field of the task", "asked for", "not asked for", "no such call"],
)
def test_the_seed_of_a_picture(open_bench: Open, personality: str, fetch_seeds: bool, told: bool) -> None:
    bench = open_bench(personality, fetch_seeds=fetch_seeds)
    seed = blend(bench).seed
    assert (seed is not None and seed.isdigit()) == told

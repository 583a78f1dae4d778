"""`blendq campaign`, and the orders behind it, on an embedded server."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs import events
from jobs.errands import COLLECTS
from jobs.errors import BlendqError, CampaignNotFound, JobNotFound, UsageError
from jobs.events import AnswerKind
from jobs.job import Status
from jobs.slots.plan import Plan
from producer import Producer
from tests.integration.commands import UPLOADED, happen, succeed

Enqueue = Callable[[str, int], list[str]]


@pytest.fixture
def enqueue(call: Any, pictures: list[str]) -> Enqueue:
    """So many jobs of one campaign; their ids."""

    def enqueue(campaign: str, count: int) -> list[str]:
        numbers = map(str, range(count))
        return [call("submit", *pictures, "--campaign", campaign, "--instance-id", n).out.strip() for n in numbers]

    return enqueue


def fail(blends: Producer, *job_ids: str, kind: AnswerKind = AnswerKind.MODERATED) -> None:
    for job_id in job_ids:
        happen(blends, job_id, *UPLOADED, events.Answer(1, kind, code=24, description="no"))


def park(blends: Producer, job_id: str) -> None:
    happen(blends, job_id, *UPLOADED, events.NoAnswer(1, "reset"), events.Conflict("job_x", "task t"))


def test_campaigns(call: Any, blends: Producer, pictures: list[str]) -> None:
    ids = [
        call("submit", *pictures, "--campaign", "counted", "--instance-id", str(number)).out.strip()
        for number in range(8)
    ]
    for number, job_id in enumerate(ids[:6]):
        failed = events.Answer(1, AnswerKind.MODERATED, code=24, description=f"banned {number}")
        happen(blends, job_id, *UPLOADED, failed)
    succeed(blends, ids[6])
    shown = call("campaign", "show", "counted")
    assert shown.code == 0
    assert "8 jobs, 1 unfinished" in shown.out
    assert [f"banned {number}" in shown.out for number in range(6)] == [False, True, True, True, True, True]

    told = call("campaign", "show", "counted", "--json").json
    assert (told["total"], told["counts"]) == (8, {"waiting": 1, "succeeded": 1, "failed": 6})
    assert [job["id"] for job in told["newest_failures"]] == ids[5:0:-1]
    listed = call("campaign", "list", "--json").json
    assert [one for one in listed if one["name"] == "counted"] == [
        {name: value for name, value in told.items() if name != "newest_failures"}
    ]
    assert "counted" in call("campaign", "list").out


def test_an_unknown_campaign(call: Any) -> None:
    done = call("campaign", "show", "none")
    assert (done.code, done.out) == (1, "")
    assert "there is no campaign 'none'" in done.err


# --- orders -------------------------------------------------------------------------------------------------------


def test_pause_and_resume(call: Any, blends: Producer, enqueue: Enqueue) -> None:
    enqueue("paused", 1)
    assert call("campaign", "pause", "paused", "--reason", "wait for Ann").out == "paused: paused\n"
    assert call("campaign", "pause", "paused", "--json").json["changed"] is False
    shown = call("campaign", "show", "paused")
    assert "wait for Ann" in shown.out
    assert call("campaign", "show", "paused", "--json").json["pause"]["kind"] == "person"
    assert call("campaign", "resume", "paused").out == "paused: it goes on\n"
    assert call("campaign", "resume", "paused").out == "paused: it was not paused\n"
    assert blends.campaign("paused").paused is None


def test_a_plan_is_shown_and_changed(call: Any, blends: Producer, enqueue: Enqueue) -> None:
    enqueue("planned", 1)
    assert call("campaign", "plan", "planned").out == "planned: weight 1, no budget, no bound on failures\n"
    call("campaign", "plan", "planned", "--weight", "3", "--max-submissions", "9", "--stop-after-failures", "20%")
    assert blends.campaign("planned").plan == Plan(weight=3, max_submissions=9, stop_after_failures=0.2)
    changed = call("campaign", "plan", "planned", "--max-submissions", "none", "--json").json
    assert (changed["max_submissions"], changed["weight"], changed["stop_after_failures"]) == (None, 3, 0.2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--weight", "0"], "weight must be more than 0"),
        (["--max-submissions", "many"], "max_submissions must be "),
        (["--max-submissions", "-1"], "max_submissions must be "),
        (["--stop-after-failures", "a few"], "'a few' is no percentage; give 20% for a fifth"),
        (["--stop-after-failures", "120%"], "'120%' is no percentage"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(call: Any, enqueue: Enqueue, words: Sequence[str], said: str) -> None:
    enqueue("refused", 1)
    done = call("campaign", "plan", "refused", *words)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert said in done.err


def test_a_spent_budget_is_not_resumed_before_it_is_raised(call: Any, blends: Producer, enqueue: Enqueue) -> None:
    first, _ = enqueue("spent", 2)
    succeed(blends, first)
    call("campaign", "plan", "spent", "--max-submissions", "1")
    done = call("campaign", "resume", "spent")
    assert (done.code, "1 submissions are or may be paid for, of 1 allowed" in done.err) == (1, True)
    assert "campaign plan spent --max-submissions N" in done.err
    call("campaign", "plan", "spent", "--max-submissions", "2")
    assert call("campaign", "resume", "spent").code == 0


def test_resuming_forgives_failures(blends: Producer, enqueue: Enqueue) -> None:
    fail(blends, *enqueue("forgiven", 10))
    control = blends.campaign("forgiven")
    control.change_plan(stop_after_failures=0.5)
    assert control.plan.reason_to_pause(blends.store.counts("forgiven")) is not None
    control.resume()
    assert control.plan.reason_to_pause(blends.store.counts("forgiven")) is None


def test_cancelling_all(call: Any, blends: Producer, enqueue: Enqueue) -> None:
    waiting, sent, done = enqueue("cancelled", 3)
    happen(blends, sent, *UPLOADED, events.Answer(1, AnswerKind.ACCEPTED, f"task-{sent}", None, 1))
    succeed(blends, done)
    told = call("campaign", "cancel", "cancelled", "--json").json
    assert (told["changed"], told["unchanged"], told["now"]) == (2, 0, {"accepted": 1, "cancelled": 1})
    assert "1 cancelled before they were sent; the API is asked to cancel 1 more" in told["message"]
    jobs = [blends.get(one) for one in (waiting, sent, done)]
    assert [job.status for job in jobs] == [Status.CANCELLED, Status.ACCEPTED, Status.SUCCEEDED]
    assert jobs[1].cancel_requested


def test_retrying_takes_only_what_is_asked_for(call: Any, blends: Producer, enqueue: Enqueue) -> None:
    banned, invalid, parked, cancelled = enqueue("retried", 4)
    fail(blends, banned)
    fail(blends, invalid, kind=AnswerKind.INVALID)
    park(blends, parked)
    blends.cancel(cancelled)
    assert call("campaign", "retry", "retried", "--reason", "invalid").out == "retried: 1 are tried again\n"
    assert [blends.get(one).status for one in (banned, invalid)] == [Status.FAILED, Status.WAITING]
    assert call("campaign", "retry", "retried", "--json").json["now"] == {"waiting": 1}
    assert blends.get(parked).status is Status.PARKED, "it may have been paid for, so nobody retries it by the way"
    assert call("campaign", "retry", "retried", "--status", "parked", "--status", "cancelled").code == 0
    assert blends.store.counts("retried")["waiting"] == 4
    with pytest.raises(UsageError, match="succeeded: only failed, cancelled and parked"):
        blends.campaign("retried").retry([Status.SUCCEEDED])


def test_retrying_a_job_that_was_finished_there_fetches_its_picture(
    blends: Producer, enqueue: Enqueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job_id,) = enqueue("fetched", 1)
    succeed(blends, job_id)
    happen(blends, job_id, events.Conflict("job_x", "picture"))  # found out afterwards
    called: list[str] = []
    monkeypatch.setattr(blends, "_wake_collect", lambda: called.append("collect"))
    assert blends.campaign("fetched").retry([Status.PARKED]).changed == {Status.COLLECTING: 1}
    assert called == ["collect"]
    assert blends._errands.absent(COLLECTS, [job_id, "job_x"]) == ["job_x"]


def test_purging_says_first_what_it_would_do(call: Any, blends: Producer, enqueue: Enqueue) -> None:
    failed, done, waiting = enqueue("purged", 3)
    fail(blends, failed)
    succeed(blends, done)
    before = blends.store.counts()
    assert "2 finished jobs would be forgotten; add --yes" in call("campaign", "purge", "purged").out
    assert call("campaign", "purge", "purged", "--older-than", "1", "--yes", "--json").json["purged"] == 0
    assert call("campaign", "purge", "purged", "--yes").out == "purged: 2 finished jobs are forgotten\n"
    assert blends.store.counts("purged") == {"waiting": 1}
    after = blends.store.counts()
    assert {name: before[name] - after.get(name, 0) for name in ("failed", "succeeded", "submissions", "waiting")} == {
        "failed": 1, "succeeded": 1, "submissions": 1, "waiting": 0,
    }  # fmt: skip
    with pytest.raises(JobNotFound):
        blends.get(done)
    assert [job.id for job in blends.campaign("purged").jobs()] == [waiting]


def test_a_purged_campaign_leaves_nothing_behind_and_its_task_ids_are_free(blends: Producer, enqueue: Enqueue) -> None:
    job_id, failed = enqueue("gone", 2)
    blends.campaign("gone").change_plan(weight=2)
    succeed(blends, job_id)
    fail(blends, failed)
    keys, client = blends.store.keys, blends.store._redis
    assert blends.campaign("gone").purge(timedelta()) == 2
    assert [name for name, _ in blends.store.campaigns() if name == "gone"] == []
    assert list(client.scan_iter("*:campaign:gone:*")) == []
    assert client.hget(keys.tasks, f"task-{job_id}") is None
    assert not client.exists(keys.job(job_id), keys.history(job_id))
    with pytest.raises(CampaignNotFound):
        blends.campaign("gone").purge()
    (again,) = enqueue("gone", 1)
    succeed(blends, again)
    assert (again, blends.get(again).status) == (job_id, Status.SUCCEEDED)


@pytest.mark.parametrize("words", [["pause"], ["resume"], ["plan"], ["cancel"], ["retry"], ["purge"], ["watch"]])
def test_orders_to_a_campaign_that_is_not_there(call: Any, words: Sequence[str]) -> None:
    done = call("campaign", *words, "none")
    assert (done.code, done.out) == (1, "")
    assert "there is no campaign 'none'" in done.err


def test_an_order_that_fails_is_told(blends: Producer, enqueue: Enqueue, monkeypatch: pytest.MonkeyPatch) -> None:
    enqueue("broken", 1)
    monkeypatch.setattr(blends.store, "apply_many", lambda *_: [BlendqError("no")])
    with pytest.raises(BlendqError, match="no"):
        blends.campaign("broken").cancel()


# --- watch --------------------------------------------------------------------------------------------------------


def test_watching_ends_with_the_campaign_and_tells_of_pauses(
    call: Any, blends: Producer, enqueue: Enqueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = enqueue("watched", 2)
    blends.campaign("watched").pause("wait for Ann")
    left = [second, first]

    def meanwhile(_seconds: float) -> None:
        job_id = left.pop()
        if left:
            succeed(blends, job_id)
        else:
            fail(blends, job_id)

    monkeypatch.setattr("ops.cli.campaigns.time.sleep", meanwhile)
    done = call("campaign", "watch", "watched", "--json")
    assert (done.code, done.json["counts"]) == (3, {"succeeded": 1, "failed": 1})
    assert done.err.count("it is paused (person): wait for Ann; go on: blendq campaign resume watched") == 1
    assert "2/2 done: 1 succeeded · 1 failed" in done.err


def test_export(call: Any, blends: Producer, enqueue: Enqueue, tmp_path: Path) -> None:
    ids = enqueue("shown", 3)
    picture = succeed(blends, ids[1]).read_bytes()
    out = tmp_path / "out"
    told = call(
        "campaign", "export", "shown", "--out", str(out), "--name", "{number}", "--format", "csv", "--json"
    ).json
    assert {"total": 3, "succeeded": 1, "written": 1, "unchanged": 0}.items() <= told.items()
    assert (out / "2.png").read_bytes() == picture
    results = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [(line["id"], line["picture"]) for line in results] == [(ids[0], None), (ids[1], "2.png"), (ids[2], None)]
    assert len((out / "results.csv").read_text().splitlines()) == 4
    again = call("campaign", "export", "shown", "--out", str(out), "--name", "{number}")
    assert "unchanged  1" in again.out

    assert call("campaign", "export", "none", "--out", str(out)).code == 1
    assert call("campaign", "export", "shown").code == 2
    assert call("campaign", "export", "shown", "--out", str(out), "--name", "{x}").code == 2
    (tmp_path / "file").write_text("")
    failed = call("campaign", "export", "shown", "--out", str(tmp_path / "file"))
    assert (failed.code, failed.err.count("\n")) == (2, 1)

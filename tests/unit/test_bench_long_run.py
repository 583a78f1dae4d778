"""What long runs plan, count and judge by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ops.bench.long_run import told
from ops.bench.long_run.apis import Paid, is_made_from, paid_by
from ops.bench.long_run.judge import Verdict
from ops.bench.long_run.plan import AnotherPlanError, Plan
from ops.bench.long_run.samples import ENQUEUEING, WORKING, Sample, read, windows
from ops.sandbox.journal import Journal

PLAN = Plan(jobs=(10, 1000), finish=4, picture_bytes=100, workers=1, threads=2, speed=None)


def sample(at: float, doing: str, *, first: bool = False, **facts: Any) -> Sample:
    known: dict[str, Any] = {"stage": 0, "enqueued": 0, "waiting": 0, "finished": 0, "rss_mb": {}, "cpu_seconds": {}}
    known |= {"redis_mb": 1.0, "rewriting": False, "aof_mb": 1.0, "logs_mb": 0.0}
    return Sample(at=at, doing=doing, first=first, **known | facts)


RUN = [
    sample(0, ENQUEUEING, first=True, cpu_seconds={"redis": 50.0}),
    sample(1, ENQUEUEING, enqueued=100, cpu_seconds={"redis": 0.2}),
    sample(9, WORKING, first=True, finished=1, cpu_seconds={"worker": 7.0}),
    sample(10, WORKING, finished=11, cpu_seconds={"worker": 0.1}),
    sample(12, WORKING, enqueued=100, waiting=70, finished=21, cpu_seconds={"worker": 0.3}),
]


def test_each_stage_has_so_many_waiting_and_finishes_some_of_them() -> None:
    stages = list(PLAN.stages)
    assert [(stage.enqueued, stage.finished) for stage in stages] == [(10, 4), (1004, 8)]
    assert PLAN.total == 1004
    assert [(one.enqueued, one.finished) for one in replace(PLAN, jobs=(7,), finish=None).stages] == [(7, 7)]


def test_a_folder_keeps_its_plan(tmp_path: Path) -> None:
    begun = PLAN.kept_in(tmp_path)
    assert begun.api_port != begun.receiver_port
    assert PLAN.kept_in(tmp_path) == begun
    with pytest.raises(AnotherPlanError, match="another folder"):
        replace(PLAN, threads=3).kept_in(tmp_path)


def test_windows_begin_anew_where_something_else_is_done() -> None:
    enqueueing, first, second = windows(RUN, most=3)
    assert (enqueueing.jobs, enqueueing.jobs_per_second, enqueueing.cpu_ms_a_job("redis")) == (100, 100, 2)
    assert [one.jobs_per_second for one in (first, second)] == [10, 5]
    _, work = windows(RUN, most=2)
    assert (work.jobs, work.seconds) == (20, 3)
    assert work.cpu_ms_a_job("worker") == pytest.approx(20)


def test_tables_and_plots_tell_of_both_halves() -> None:
    enqueueing, working = told.rows(RUN)
    assert enqueueing.lines[0].figures["CPU ms a job"] == 2
    assert [line.figures["worker ms"] for line in working.lines] == [10, 30]
    assert working.lines[-1].figures["under way"] == 9
    drawn = "".join(ElementTree.fromstring(told.plots(RUN)).itertext())
    assert "working: 0 wait, 1 done" in drawn


def test_a_run_that_has_not_begun_has_nothing_to_tell(tmp_path: Path) -> None:
    assert read(tmp_path / "samples.jsonl") == []
    assert told.rows([]) == []
    ElementTree.fromstring(told.plots([]))


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"jobs": {"parked": 2}}, {"parked jobs": 2}),
        ({"lost": 1}, {"lost": 1}),
        ({"paid_twice": 1}, {"paid_twice": 1}),
        ({"unpaid": 1}, {"unpaid": 1}),
        ({"without_picture": 1}, {"without_picture": 1}),
    ],
)
def test_whatever_is_wrong_is_a_problem(wrong: dict[str, Any], problem: dict[str, int]) -> None:
    good = Verdict(jobs={"succeeded": 3}, lost=0, submissions=3, paid_twice=0, unpaid=0, without_picture=0)
    assert good.problems == {}
    assert replace(good, **wrong).problems == problem


def test_the_sandbox_is_judged_by_the_jobs_in_its_ledger(tmp_path: Path) -> None:
    ledger = Journal(tmp_path / "ledger.jsonl")
    for token in ("a/1", "b/1", "a/2"):
        ledger.append({"kind": "accepted", "token": token})
    ledger.append({"kind": "answer", "code": "1"})
    assert paid_by(ledger) == Paid(submissions=3, blends=2)
    ledger.close()


def test_a_picture_of_the_sandbox_names_what_it_was_made_from() -> None:
    pair = (f"sha256:{'a' * 64}", f"sha256:{'b' * 64}")
    picture = f"…{'a' * 64},{'b' * 64}…".encode()
    assert is_made_from(pair, picture)
    assert not is_made_from(pair[::-1], picture)

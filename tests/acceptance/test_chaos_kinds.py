"""Kinds of faults whose end is known: which jobs get no picture, and for what reason (I1, I2, I4, I5, I9)."""

from __future__ import annotations

import pytest

from ops.chaos.judge import Verdict
from ops.chaos.options import Options
from ops.chaos.run import run
from ops.chaos.schedule import WAYS_TO_FAIL, WEBHOOKS_FAIL, draw
from tests.conftest import no_server

JOBS = 24

pytestmark = pytest.mark.no_cover  # what is judged are other processes


@pytest.fixture(autouse=True)
def _server(server_binary: object) -> None:
    """Without a server there is no run."""
    if server_binary is None:  # pragma: no cover
        no_server("none found")


def verdict_on(kind: str) -> Verdict:
    return verdict_of(Options(seed=3, jobs=JOBS, faults=1, only=(kind,), workers=2, settle_seconds=60.0))


def verdict_of(options: Options) -> Verdict:
    report = run(options)
    told = report.as_json() | {"histories": report.verdict.histories}
    assert report.verdict.good, told
    assert [strike.problem for strike in report.strikes] == [""] * options.faults, told
    assert report.verdict.jobs >= options.jobs  # and their follow-ups
    return report.verdict


@pytest.mark.timeout(400)
def test_every_job_comes_to_its_picture_all_the_same() -> None:
    """A seed that has each of these kinds once, one after the other."""
    kinds = ("redis-swapped", "redis-disk-full", "pictures-disk-full", "callbacks-storm")
    options = Options(seed=370, jobs=40, faults=4, only=kinds, workers=2, overlap=1, settle_seconds=60.0)
    assert sorted(fault.kind for fault in draw(options)) == sorted(kinds)
    verdict = verdict_of(options)
    assert verdict.final == {"succeeded": verdict.jobs}


def test_a_job_that_kills_its_workers_is_parked_and_all_others_succeed() -> None:
    verdict = verdict_on("poison-job")
    # Now and then another one is uploaded beside it each time; but hardly two are.
    assert verdict.final["parked"] in (1, 2)
    assert verdict.final["succeeded"] == verdict.jobs - verdict.final["parked"]
    others = [line for line in verdict.parked if ": poison: 3 workers in a row were lost" not in line]
    assert len(others) < len(verdict.parked)
    assert all(": unsure: " in line for line in others), others  # just sent whole when its worker was killed


def test_every_end_is_told_at_least_once_under_one_id() -> None:
    """I6, whatever the endpoint does, and whoever dies after it was told: a seed that has each way to fail."""
    options = Options(seed=9, jobs=60, faults=7, only=(WEBHOOKS_FAIL,), workers=2, settle_seconds=60.0)
    assert {fault.details["way"] for fault in draw(options)} == set(WAYS_TO_FAIL)
    verdict = verdict_of(options)
    assert sum(verdict.final.values()) == verdict.jobs


@pytest.mark.parametrize("kind", ["pictures-shared", "duplicate-ids"])
def test_jobs_that_share_a_task_or_a_picture_are_parked_and_all_others_succeed(kind: str) -> None:
    verdict = verdict_on(kind)
    parked, failed = verdict.final["parked"], verdict.final["failed"]  # follow-ups of what was parked cannot be had
    assert verdict.final["succeeded"] == verdict.jobs - parked - failed
    assert parked >= 2
    assert failed <= verdict.jobs - JOBS
    assert all(": conflict: " in line for line in verdict.parked)

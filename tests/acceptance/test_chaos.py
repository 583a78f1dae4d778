"""Fault runs by their seeds: nothing is lost and nothing is paid twice, by the simulated API's own ledger (I1, I2)."""

from __future__ import annotations

from typing import Any

import pytest

from ops.chaos import on_processes
from ops.chaos.options import Options
from ops.chaos.run import Report, run
from ops.chaos.schedule import draw
from tests.conftest import no_server

STEPS = (
    "released",
    "claimed",
    "mid-upload",
    "before-commit",
    "after-commit",
    "after-last-byte",
    "before-record",
    "after-record",
)
# So many submissions one worker has on the wire at most. Killed at whichever step of one of them, it may leave others
# behind of which nobody knows whether they were accepted.
ON_THE_WIRE = 8
# A worker that was killed is a while in coming back, on a busy machine.
PATIENCE_SECONDS = 40.0

pytestmark = pytest.mark.no_cover  # what is judged are other processes


@pytest.fixture(autouse=True)
def _server(server_binary: object) -> None:
    """Without a server there is no run."""
    if server_binary is None:  # pragma: no cover
        no_server("none found")


def check(options: Options) -> Report:
    report = run(options)
    verdict = report.verdict
    told: dict[str, Any] = report.as_json() | {"histories": verdict.histories}
    assert verdict.good, told
    assert sum(verdict.final.values()) == verdict.jobs >= options.jobs, told  # with their follow-ups
    assert [strike.problem for strike in report.strikes if strike.problem] == []
    return report


@pytest.mark.parametrize("seed", [1, 2])
def test_a_seeded_run_loses_nothing_and_pays_once(seed: int) -> None:
    check(Options(seed=seed, jobs=40, faults=6, workers=2, settle_seconds=40.0))


def test_of_two_apis_one_may_fail_as_it_likes() -> None:
    """It dies, refuses the key, takes jobs without saying so, is out of reach: by the ledgers of both."""
    kinds = ("api-restarted", "wrong-key", "answers-lost", "api-refuse", "api-black-hole", "5xx-after")
    check(Options(seed=4, jobs=40, faults=6, workers=2, settle_seconds=40.0, only=kinds, apis=2))


@pytest.mark.timeout(400)
def test_workers_killed_at_each_step_of_submit_lose_nothing_and_pay_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With callbacks, even what is in doubt is found: every job comes to its picture, unless it was never accepted.

    The seed is one that kills at each of the steps once, one kill after the other.
    """
    monkeypatch.setattr(on_processes, "TRAP_SECONDS", PATIENCE_SECONDS)
    kills = Options(seed=64754, jobs=60, faults=8, only=("worker-kill",), workers=2, overlap=1, settle_seconds=40.0)
    assert sorted(fault.details["step"] for fault in draw(kills)) == sorted(STEPS)
    report = check(kills)
    assert report.verdict.doubt.most_parked_by_one_fault <= ON_THE_WIRE
    for strike in report.strikes:
        assert strike.ended is not None
        assert strike.ended - strike.began < PATIENCE_SECONDS, f"none came to the step of {strike.fault}"

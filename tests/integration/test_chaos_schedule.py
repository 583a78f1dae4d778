"""The schedule of the fault runs, and the traps: a seed replays its faults, and covers every kind there is."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ops.chaos.options import Options, parse
from ops.chaos.run import ACTIONS
from ops.chaos.schedule import KINDS, LATEST_SHARE, STEPS, WAYS_TO_FAIL, WEBHOOKS_FAIL, draw
from ops.chaos.traps import KILL, Traps
from ops.chaos.variants import VARIANTS

MANY = Options(seed=7, jobs=300, faults=2000)


def test_the_same_options_draw_the_same_faults() -> None:
    assert draw(MANY) == draw(replace(MANY))
    assert draw(MANY) != draw(replace(MANY, seed=8))


def test_every_kind_is_drawn_and_can_be_played() -> None:
    by_order_only = {name for name, kind in KINDS.items() if not kind.weight}
    assert {fault.kind for fault in draw(MANY)} | by_order_only == set(KINDS) == set(ACTIONS)
    assert {fault.kind for fault in draw(replace(MANY, only=tuple(by_order_only)))} == by_order_only == {WEBHOOKS_FAIL}


def test_a_seed_draws_what_it_drew_before_there_were_new_kinds() -> None:
    """Results of earlier batches name their faults by the seed alone."""
    drawn = [draw(Options(seed=seed, jobs=100, faults=50)) for seed in (1, 2, 173)]
    digests = [hashlib.sha256(json.dumps([fault.as_json() for fault in one]).encode()).hexdigest() for one in drawn]
    assert [digest[:16] for digest in digests] == ["2c5485e1ccc67b62", "f14dbb9e5ce44d8c", "bd9bfbdf86afd199"]


def test_each_way_in_which_webhooks_fail_is_drawn() -> None:
    assert {fault.details["way"] for fault in draw(replace(MANY, only=(WEBHOOKS_FAIL,)))} == set(WAYS_TO_FAIL)


def test_every_step_of_a_submission_is_struck() -> None:
    for kind in ("worker-kill", "worker-stop"):
        struck = {fault.details["step"] for fault in draw(replace(MANY, only=(kind,)))}
        assert struck == {"now", *STEPS}


def test_the_last_jobs_are_left_to_recover_in() -> None:
    due = [fault.after for fault in draw(MANY)]
    assert due == sorted(due)
    assert due[0] >= 0
    assert due[-1] <= LATEST_SHARE * MANY.jobs


def test_a_kind_that_needs_waiting_jobs_comes_early() -> None:
    faults = draw(replace(MANY, only=("poison-job", "producer-clock")))
    assert all(fault.after <= KINDS[fault.kind].latest * MANY.jobs for fault in faults)
    assert max(fault.after for fault in faults) < LATEST_SHARE / 2 * MANY.jobs


def test_only_limits_the_kinds() -> None:
    faults = draw(replace(MANY, only=("redis-kill", "api-forgets")))
    assert {fault.kind for fault in faults} == {"redis-kill", "api-forgets"}


def test_an_unknown_kind_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--only", "redis-kill,moon-falls"], list(KINDS), list(VARIANTS))
    assert "moon-falls" in capsys.readouterr().err


def test_every_broken_variant_has_runs_that_are_to_catch_it() -> None:
    assert len(VARIANTS) >= 12
    assert all(variant.cases and variant.invariant for variant in VARIANTS.values())
    assert {kind for variant in VARIANTS.values() for case in variant.cases for kind in case.only} <= set(KINDS)


def test_a_trap_catches_one_process_once(tmp_path: Path) -> None:
    trap = Traps(tmp_path).lay("claimed", KILL)
    step = (
        f"from pathlib import Path; from ops.chaos.traps import Traps; Traps(Path({str(tmp_path)!r})).spring('claimed')"
    )
    caught = subprocess.Popen([sys.executable, "-c", step])
    assert caught.wait(30) == -signal.SIGKILL
    assert trap.caught == caught.pid
    assert subprocess.run([sys.executable, "-c", step], check=False, timeout=30).returncode == 0
    assert not trap.disarm()


def test_a_trap_that_was_taken_away_catches_nobody(tmp_path: Path) -> None:
    traps = Traps(tmp_path)
    trap = traps.lay("claimed", KILL)
    assert trap.disarm()
    traps.spring("claimed")
    assert trap.caught is None


def test_a_poison_job_kills_everybody_who_claims_it_and_no_other_job_does(tmp_path: Path) -> None:
    traps = Traps(tmp_path / "traps")
    assert traps.poisoned() == set()
    traps.poison("job_1")
    taste = (
        "import sys; from pathlib import Path; from ops.chaos.traps import Traps; "
        f"Traps(Path({str(tmp_path / 'traps')!r})).taste(sys.argv[1])"
    )
    ends = [
        subprocess.run([sys.executable, "-c", taste, job], check=False, timeout=30).returncode
        for job in ("job_1", "job_2", "job_1")
    ]
    assert ends == [-signal.SIGKILL, 0, -signal.SIGKILL]
    assert traps.poisoned() == {"job_1"}
    traps.cure("job_1")
    assert traps.poisoned() == set()

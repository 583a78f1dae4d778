"""Batches of fault runs: what is skipped, what is summed up, what an interruption leaves behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ops.chaos import batch
from ops.chaos.batch import run_batch
from ops.chaos.options import Options, parse
from ops.chaos.schedule import KINDS
from ops.chaos.summary import one_line, summary
from ops.chaos.variants import VARIANTS

COMMIT = "0" * 40
OPTIONS = Options(jobs=20, faults=1)
PATIENCE_SECONDS = 200.0


def entry(seed: int, options: Options = OPTIONS, commit: str = COMMIT, **more: Any) -> dict[str, Any]:
    """The result of a run in which all went well, but for what is said."""
    return {
        "seed": seed,
        "commit": commit,
        "problem": "",
        "options": options.as_json() | {"seed": seed},
        "jobs": 20,
        "final": {"succeeded": 18, "parked": 2},
        "lost": [],
        "double_paid": [],
        "wrong": [],
        "parked_as": {"unsure, not paid for": 2},
        "paid_again": {},
        "doubt": {"without_fault": [], "most_parked_by_one_fault": seed},
        "strikes": [{"kind": "redis-kill", "recovered_after": 0.5 * seed}, {"kind": "redis-cut"}],
        "would_not_leave": [],
        "leaving_seconds": [0.5],
        "died_alone": [],
        "seconds": 5.0,
        "folder": None,
    } | more


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(batch, "_commit", lambda: COMMIT)
    return tmp_path / "results.jsonl"


def keep(results: Path, *entries: dict[str, Any]) -> None:
    results.write_text("".join(json.dumps(one) + "\n" for one in entries), encoding="utf-8")


def known(results: Path, options: Options = OPTIONS) -> set[int]:
    return set(batch._Batch(options, 1, results).known)


def test_what_the_results_have_is_not_run_again(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(results, entry(1), entry(2))
    assert run_batch(OPTIONS, [1, 2], 1, results, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)["summary"]
    assert (told["runs"], told["jobs"], told["faults"], told["most_parked_by_one_fault"]) == (2, 40, 4, 2)
    assert told["recovery_seconds"] == {"redis-kill": {"count": 2, "median": 0.75, "slowest": 1.0}}


def test_other_options_another_commit_and_runs_without_a_verdict_do_not_count(results: Path) -> None:
    keep(results, entry(1), entry(2, Options(jobs=21, faults=1)), entry(3, commit="1" * 40), entry(4, problem="killed"))
    with results.open("a", encoding="utf-8") as file:
        file.write('{"seed": 5, "comm')
    assert known(results) == {1}


def test_a_changed_work_tree_repeats_nothing(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_commit", lambda: f"{COMMIT}-dirty")
    keep(results, entry(1, commit=f"{COMMIT}-dirty"))
    assert known(results) == set()


@pytest.mark.parametrize("more", [{"lost": ["job_x"]}, {"double_paid": ["job_x"]}, {"wrong": ["x"]}, {"problem": "x"}])
def test_one_bad_run_makes_a_bad_batch(results: Path, more: dict[str, Any]) -> None:
    assert summary([entry(1), entry(2)])["good"]
    told = summary([entry(1), entry(2, **more)])
    assert not told["good"]
    assert told["failed_seeds"] == [2]


def test_the_folder_of_a_failed_run_is_told() -> None:
    assert one_line(entry(2, lost=["job_x"], folder="/tmp/run")).endswith("FAILED: /tmp/run")


def test_a_run_is_handed_over_whole() -> None:
    options = Options(
        7,
        30,
        4,
        ("redis-kill", "api-forgets"),
        "plus",
        "wait",
        "fence-off",
        "claimed",
        2,
        31.0,
        1,
        60.0,
        True,
        Path("k"),
        2,
    )
    assert parse(options.to_arguments(), list(KINDS), list(VARIANTS)).options == options


def test_seeds_are_ranges_and_numbers() -> None:
    assert parse(["--seeds", "1-3,7,9-10"], [], []).seeds == (1, 2, 3, 7, 9, 10)


@pytest.mark.timeout(400)
def test_interrupted_it_keeps_what_it_has_and_leaves_nothing_running(server_binary: Path, tmp_path: Path) -> None:
    """The second run is under way when the first has ended, and is given up."""
    results = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "ops.chaos", "--seeds", "1-9", "--jobs", "4", "--faults", "0"]
    command += ["--json", "--results", str(results), "--keep", str(tmp_path / "runs")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        try:
            first = json.loads(run.stdout.readline()) if run.stdout else {}
            run.send_signal(signal.SIGINT)
            out, _ = run.communicate(timeout=PATIENCE_SECONDS)
        finally:
            run.kill()
    assert run.returncode == 130
    told = json.loads(out.splitlines()[-1])["summary"]
    assert told["good"]
    assert told["runs"] == 1
    # The one that was cut off may have been about to end.
    assert (tmp_path / "runs" / "seed-1" / "report.json").exists()
    assert json.loads(results.read_text(encoding="utf-8").splitlines()[0]) == first
    assert processes_of(tmp_path) == []


def processes_of(folder: Path) -> list[str]:
    """Processes that have this folder in their command line."""
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if str(folder) in line and "ops.chaos" in line]

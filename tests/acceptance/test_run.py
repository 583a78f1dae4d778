"""The main job, as a user runs it. The ledger of the simulated API is the judge: nothing lost, nothing paid twice."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from jobs.policy import Policy
from jobs.server import connect
from jobs.settings import Settings
from jobs.store import JobStore
from ops.sandbox.process import SandboxProcess
from tests.acceptance.runs import EXAMPLES, Runs, small_manifest, wait_for
from tests.ports import free_port

ROWS = 12
QUICK = ("--speed", "60")
pytestmark = pytest.mark.no_cover


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return small_manifest(tmp_path, ROWS)


def under_way(runs: Runs) -> None:
    """Wait until some more submissions are paid for, and not all of them."""
    enough = len(runs.ledger()) + 3
    wait_for(lambda: len(runs.ledger()) >= enough, lambda: f"nothing was submitted\n{runs.logs()}")


def test_the_readmes_first_line(tmp_path: Path) -> None:
    runs = Runs(tmp_path, EXAMPLES / "pairs.csv", "--sandbox")
    began = time.monotonic()
    told = runs.finish(runs.start())
    assert time.monotonic() - began < 60
    assert {"total": 12, "succeeded": 12, "failed": 0, "parked": 0, "submissions": 12}.items() <= told.items()
    runs.check_pictures(12)
    runs.check_paid_once(12)
    rows = (EXAMPLES / "pairs.csv").read_text().splitlines()[1:]
    assert [result["custom_id"] for result in runs.results()] == [row.split(",")[0] for row in rows]
    assert (runs.out / "errors.jsonl").read_text() == ""
    assert "lighthouse-at-dusk.png" in (runs.out / "gallery.html").read_text()

    again = runs.finish(runs.start())
    assert {"submissions": 0, "done_before": 12, "succeeded": 12}.items() <= again.items()
    assert "nothing was submitted" in again["said"]
    assert again["seconds"] < 5
    runs.check_paid_once(12)


def test_interrupted_killed_and_finished(tmp_path: Path) -> None:
    """Ctrl-C, SIGTERM, and kill -9 of the run itself: its processes leave too, and the same line goes on."""
    runs = Runs(tmp_path, small_manifest(tmp_path, 2 * ROWS), "--sandbox", *QUICK)
    for how in (signal.SIGINT, signal.SIGTERM):
        process = runs.start()
        under_way(runs)
        process.send_signal(how)
        assert runs.finish(process, code=130)["outcome"] == "interrupted"
    process = runs.start()
    under_way(runs)
    runs.kill(process, signal.SIGKILL)
    assert runs.run()["succeeded"] == 2 * ROWS
    runs.check_pictures(2 * ROWS)
    runs.check_paid_once(2 * ROWS)


def test_a_killed_worker_is_replaced(tmp_path: Path, manifest: Path) -> None:
    runs = Runs(tmp_path, manifest, "--sandbox", *QUICK)
    process = runs.start()
    under_way(runs)
    # Not between a commit and its last byte: such a job would rightly wait for a person. tests/acceptance/test_chaos.py
    # kills there, step by step.
    store = JobStore(connect(Settings(data_dir=runs.place).redis_address()), Policy())
    wait_for(lambda: store.throttle.read()[1].on_the_way == 0, lambda: "somebody is always on the way")
    for worker in runs.processes("ops.cli worker"):
        os.kill(worker, signal.SIGKILL)
    store.close()
    _, *rest = manifest.read_text().splitlines()
    manifest.write_text("\n".join([*rest, *rest, "no row"]))
    told = runs.finish(process)
    assert told["succeeded"] == ROWS
    assert "worker" in told["said"]
    assert f"{ROWS - 1} new, 1 gone, 1 bad" in told["said"], (
        "whoever edits the manifest meanwhile has results, and is told"
    )
    runs.check_pictures(ROWS)
    runs.check_paid_once(ROWS)


def test_a_22_that_took_nothing_is_resubmitted_with_backoff(tmp_path: Path, manifest: Path) -> None:
    told = (runs := Runs(tmp_path, manifest, "--sandbox=again", *QUICK)).run()
    assert told["succeeded"] == told["submissions"] == ROWS
    assert told["resubmissions"] == told["queued_answers"] == 2 * ROWS
    runs.check_pictures(ROWS)
    runs.check_paid_once(ROWS)


def test_22s_under_load_are_paid_exactly_once(tmp_path: Path, manifest: Path) -> None:
    told = (runs := Runs(tmp_path, manifest, "--sandbox=open-source", "--slots", "12", *QUICK)).run()
    assert told["succeeded"] == ROWS
    assert told["queued_answers"] >= 3
    assert told["resubmissions"] == 0
    runs.check_paid_once(ROWS)


def test_22s_in_resubmit_mode_against_a_server_that_cannot_cancel(tmp_path: Path, manifest: Path) -> None:
    """The user ordered it: every job succeeds once, and what was paid more than once shows in the summary."""
    told = (runs := Runs(tmp_path, manifest, "--sandbox=plus", "--on-queued", "resubmit", *QUICK)).run()
    assert told["succeeded"] == ROWS
    assert told["submissions"] == len(runs.ledger())


def test_22s_in_wait_mode(tmp_path: Path, manifest: Path) -> None:
    told = (runs := Runs(tmp_path, manifest, "--sandbox", "--on-queued", "wait", "--slots", "10", *QUICK)).run()
    assert (told["succeeded"], told["resubmissions"]) == (ROWS, 0)
    runs.check_paid_once(ROWS)


def test_a_gateway_without_any_callback(tmp_path: Path, manifest: Path) -> None:
    """I7: hooks and state are stripped, so only asking works."""
    told = (runs := Runs(tmp_path, manifest, "--sandbox=gateway", *QUICK)).run()
    assert told["succeeded"] == ROWS
    runs.check_pictures(ROWS)
    runs.check_paid_once(ROWS)


@pytest.mark.parametrize(
    "faults",
    [
        ["--repeat-callbacks", "4", "--reorder-callbacks", "--callback-before-answer"],
        ["--drop-callbacks", "1"],
        ["--lose-answer", "0.3"],
    ],
    ids=lambda flags: flags[0].removeprefix("--"),
)
def test_bad_callbacks_and_lost_answers(tmp_path: Path, manifest: Path, faults: list[str]) -> None:
    """Configured as for a real API: by address, key and public address."""
    (api := tmp_path / "api").mkdir()
    with SandboxProcess(api, "--personality", "plus", "--speed", "60", "--api-key", "k" * 20, *faults) as box:
        quick = {"POLL_MIN": "0.5", "POLL_MAX": "2", "SILENCE": "3", "BACKOFF_BASE": "0.5", "BACKOFF_CAP": "3"}
        environment = {f"BLENDQ_{name}_SECONDS": value for name, value in quick.items()}
        environment |= {"BLENDQ_API_URL": box.url, "BLENDQ_API_KEY": "k" * 20, "BLENDQ_SLOTS": "4"}
        port = free_port()
        environment |= {"BLENDQ_RECEIVER_PORT": str(port), "BLENDQ_PUBLIC_URL": f"http://127.0.0.1:{port}"}
        told = Runs(tmp_path, manifest, environment=environment).run()
        ledger = (api / "data" / "ledger.jsonl").read_text()
    assert told["succeeded"] == ROWS
    paid = Counter(line.split('"token":"')[1].split("/")[0] for line in ledger.splitlines() if '"accepted"' in line)
    assert len(paid) == ROWS
    assert set(paid.values()) == {1}


def test_a_wrong_key_loses_nothing(tmp_path: Path, manifest: Path) -> None:
    (api := tmp_path / "api").mkdir()
    with SandboxProcess(api, "--speed", "60", "--api-key", "the-right-key") as box:
        runs = Runs(tmp_path, manifest, environment={"BLENDQ_API_URL": box.url, "BLENDQ_API_KEY": "a-wrong-key"})
        told = runs.run(code=5)
        assert (told["submissions"], told["unfinished"], told["failed"]) == (0, ROWS, 0)
        errors = [line for line in told["said"].splitlines() if "error" in line]
        assert len(errors) == 1, told["said"]
        assert "BLENDQ_API_KEY" in errors[0]
        assert "a-wrong-key" not in told["said"]
        runs.environment |= {"BLENDQ_API_KEY": "the-right-key", "BLENDQ_POLL_MAX_SECONDS": "2"}
        assert runs.run()["succeeded"] == ROWS

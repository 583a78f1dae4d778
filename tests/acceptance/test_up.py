"""`blendq up`: a stack that other programs use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.runs import DEADLINE_SECONDS, EXAMPLES, Runs, wait_for


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Runs]:
    """`blendq up --sandbox`, ready; and that it leaves nothing behind."""
    runs = Runs(tmp_path, tmp_path / "none.csv")
    command = [sys.executable, "-m", "ops.cli", "up", "--sandbox", "--speed", "60", "--data-dir", str(runs.data_dir)]
    said = (tmp_path / "said").open("w")
    up = subprocess.Popen(command, env=runs.environment, stdout=subprocess.DEVNULL, stderr=said)
    wait_for(lambda: "everything runs" in (tmp_path / "said").read_text(), lambda: f"not up: {runs.logs()}")
    yield runs
    up.send_signal(signal.SIGINT)
    up.wait(DEADLINE_SECONDS)
    said.close()
    assert runs.processes() == []


def call(runs: Runs, *command: str, **environment: str) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(
        [sys.executable, *command],
        env=runs.environment | environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_service_example(stack: Runs) -> None:
    printed = call(stack, str(EXAMPLES / "service.py"), BLENDQ_DATA_DIR=str(stack.place)).split()
    assert printed[1] == "succeeded"
    assert Path(printed[2]).is_file()
    assert list(stack.paid().values()) == [1]


def test_submit_and_look(stack: Runs) -> None:
    place = ["--sandbox", "--data-dir", str(stack.data_dir)]
    pictures = [str(EXAMPLES / "whale.webp"), str(EXAMPLES / "city.webp")]
    picture = call(stack, "-m", "ops.cli", "submit", *pictures, "--wait", "--timeout", "60", *place)
    assert os.path.getsize(picture.split()[-1]) > 1000  # noqa: PTH202
    (job_id,) = stack.paid()
    shown = call(stack, "-m", "ops.cli", "job", "show", job_id, *place)
    for word in (job_id, "succeeded", "commit", "collected"):
        assert word in shown
    assert "default" in call(stack, "-m", "ops.cli", "campaign", "list", *place)
    examined = call(stack, "-m", "ops.cli", "doctor", *place)
    assert "ok       workers           1 answer: blendq@" in examined
    assert "wrong" not in examined

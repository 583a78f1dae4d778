"""docs/http-api.md, as a reader would type it: with curl, against a real stack."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.acceptance.runs import DEADLINE_SECONDS, EXAMPLES, Runs, wait_for
from tests.ports import free_port

GUIDE = EXAMPLES.parent / "docs" / "http-api.md"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[tuple[Runs, str]]:
    """`blendq up --sandbox` and `blendq api --sandbox`, ready; and where the API is."""
    runs = Runs(tmp_path, tmp_path / "none.csv", environment={"BLENDQ_SERVICE_PORT": str(free_port())})
    command = [sys.executable, "-m", "ops.cli"]
    place = ["--sandbox", "--data-dir", str(runs.data_dir)]
    log, announced = (tmp_path / "said").open("w"), tmp_path / "url"
    up = subprocess.Popen([*command, "up", "--speed", "60", *place], env=runs.environment, stdout=log, stderr=log)
    wait_for(lambda: "everything runs" in (tmp_path / "said").read_text(), lambda: f"not up: {runs.logs()}")
    options = ["--announce-file", str(announced), *place]
    api = subprocess.Popen([*command, "api", *options], env=runs.environment, stdout=log, stderr=log)
    wait_for(announced.exists, (tmp_path / "said").read_text)
    yield runs, announced.read_text()
    for process in (api, up):
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0
    log.close()
    assert runs.processes() == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_the_walk_through(stack: tuple[Runs, str], tmp_path: Path) -> None:
    runs, url = stack
    first, *others = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert first == "API=http://127.0.0.1:8793\n"
    assert len(others) == 3
    folder = shutil.copytree(EXAMPLES, tmp_path / "examples")
    script = "\n".join(["set -euo pipefail", f"API={url}", *others])
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "one job: job_" in done.stdout
    assert "succeeded" in done.stdout
    with Image.open(folder / "blend.png") as picture:
        picture.load()
    assert list(runs.paid().values()) == [1]

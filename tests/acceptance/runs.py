"""`blendq run` as a process: started, interrupted, killed; and judged by the simulated API's own ledger."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from PIL import Image

from ops.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"
DEADLINE_SECONDS = 90.0


def wait_for(condition: Callable[[], object], told: Callable[[], str], seconds: float = DEADLINE_SECONDS) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, told()
        time.sleep(0.02)


class Runs:
    """One manifest, run again and again into one folder.

    Args:
        folder: of the test alone.
        manifest: what is run.
        flags: of every run, e.g. `"--sandbox=gateway"`.
        environment: settings of every run.
    """

    def __init__(self, folder: Path, manifest: Path, *flags: str, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.manifest = manifest
        self.flags = flags
        self.out = folder / "out"
        self.data_dir = folder / "data"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("BLENDQ_")}
        self.environment |= environment or {}

    def command(self, *more: str) -> list[str]:
        places = ["--out", str(self.out), "--data-dir", str(self.data_dir), "--json"]
        return [sys.executable, "-m", "ops.cli", "run", str(self.manifest), *self.flags, *places, *more]

    def start(self, *more: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(self.command(*more), env=self.environment, stdout=pipe, stderr=pipe, text=True)

    def finish(self, process: subprocess.Popen[str], code: int = 0) -> dict[str, Any]:
        """Wait for a run, check how it left, and return the one object that it printed."""
        printed, said = process.communicate(timeout=DEADLINE_SECONDS)
        return self._told(process.returncode, code, printed, said)

    def run(self, *more: str, code: int = 0) -> dict[str, Any]:
        """The command alone in the tests' own process, which has loaded everything; its parts are processes anyway."""
        printed, said = io.StringIO(), io.StringIO()
        environment = mock.patch.dict(os.environ, self.environment, clear=True)
        with environment, contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
            left_with = main(self.command(*more)[3:])
        return self._told(left_with, code, printed.getvalue(), said.getvalue())

    def _told(self, left_with: int, code: int, printed: str, said: str) -> dict[str, Any]:
        assert left_with == code, f"exit {left_with}: {said}\n{self.logs()}"
        assert "Traceback" not in said, said
        assert self.processes() == [], "everything that it started is gone"
        found: dict[str, Any] = json.loads(printed)
        return found | {"said": said}

    def kill(self, process: subprocess.Popen[str], how: signal.Signals) -> None:
        process.send_signal(how)
        process.communicate(timeout=DEADLINE_SECONDS)
        wait_for(lambda: self.processes() == [], lambda: f"left behind: {self.processes()}", seconds=20)

    def processes(self, word: str = "") -> list[int]:
        """The processes of this data folder that are alive, by a word in their command line."""
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,stat=,args=", "-ww"], capture_output=True, text=True, check=True
        )
        found = []
        for line in listed.stdout.splitlines():
            pid, state, arguments = line.split(None, 2)
            ours = str(self.data_dir) in (arguments + self._environment_of(pid))
            if ours and word in arguments and not state.startswith("Z"):
                found.append(int(pid))
        return found

    @staticmethod
    def _environment_of(pid: str) -> str:
        try:
            return Path(f"/proc/{pid}/environ").read_text(errors="replace")
        except OSError:
            return ""

    # What is left behind ---------------------------------------------------------------------------------------

    @property
    def place(self) -> Path:
        """The data folder proper: a sandbox has one of its own."""
        (place,) = self.data_dir.glob("sandbox-*")
        return place

    def ledger(self) -> list[dict[str, Any]]:
        """What the sandbox accepted, and so was paid for. It writes whole lines, each before it answers."""
        try:
            lines = (self.place / "sandbox" / "ledger.jsonl").read_text().splitlines()
        except (FileNotFoundError, ValueError):
            return []
        return [entry for entry in map(json.loads, lines) if entry["kind"] == "accepted"]

    def paid(self) -> Counter[str]:
        """How often each job was paid for."""
        return Counter(entry["token"].split("/")[0] for entry in self.ledger())

    def results(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / "results.jsonl").read_text().splitlines()]

    def logs(self) -> str:
        return "\n".join(f"== {path}\n{path.read_text()[-2000:]}" for path in self.data_dir.glob("**/logs/*.log"))

    def check_pictures(self, count: int) -> None:
        """One decodable picture a row, made from the very bytes of that row's pictures."""
        results = self.results()
        inputs = {entry["task_id"]: entry["inputs"] for entry in self.ledger()}
        assert len(results) == count
        for result in results:
            assert result["status"] == "succeeded", result
            with Image.open(self.out / result["picture"]) as picture:
                picture.load()
                made_from = picture.text["blendq-sandbox-inputs"]  # type: ignore[attr-defined]
            assert made_from.split(",") == inputs[result["upstream"]["task_id"]], result
            assert made_from.split(",") == [_sha256(Path(image)) for image in result["images"]], result

    def check_paid_once(self, count: int) -> None:
        assert len(self.paid()) == count
        assert set(self.paid().values()) == {1}, self.paid()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def small_manifest(folder: Path, rows: int) -> Path:
    """A manifest of tiny pictures of its own."""
    for number in range(rows + 1):
        Image.new("RGB", (32, 32), (number * 5 % 256, 80, 160)).save(folder / f"{number}.png")
    lines = [json.dumps({"images": [f"{n}.png", f"{n + 1}.png"], "custom_id": f"row-{n}"}) for n in range(rows)]
    path = folder / "small.jsonl"
    path.write_text("\n".join(lines))
    return path

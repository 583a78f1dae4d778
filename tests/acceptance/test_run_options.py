"""`blendq run` with its options, as a user runs it: forecasts, bounds, several takes, folders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.runs import Runs, small_manifest

QUICK = ("--sandbox", "--speed", "100")
pytestmark = [pytest.mark.usefixtures("server_binary"), pytest.mark.no_cover]


def test_a_dry_run_tells_and_does_nothing(tmp_path: Path) -> None:
    manifest = small_manifest(tmp_path, 4)
    with manifest.open("a") as file:
        file.write('\n{"images": ["0.png", "1.png"]}\n{"images": ["0.png", "none.png"]}\n')
    runs = Runs(tmp_path, manifest, *QUICK)
    told = runs.run("--dry-run", "--price", "0.25", "--slots", "3", code=4)
    assert {
        "total": 6,
        "new": 4,
        "duplicate": 1,
        "invalid": 1,
        "done": 0,
        "cost": 1.0,
        "seconds": 120.0,
    }.items() <= told.items()
    assert "line 6: " in told["said"]
    assert not runs.out.exists()
    assert not (runs.place / "redis").exists(), "nothing was started"

    manifest.write_text("\n".join(manifest.read_text().splitlines()[:4]))
    sizes = sum(-(-(tmp_path / f"{n}.png").stat().st_size // 3) * 4 * (1 if n in (0, 4) else 2) for n in range(5))
    assert sizes < runs.run("--dry-run")["bytes_to_send"] < sizes + 8 * 40
    assert runs.run()["succeeded"] == 4
    told = runs.run("--dry-run")
    assert {"new": 0, "done": 4, "bytes_to_send": 0, "cost": None, "seconds": 0}.items() <= told.items()
    runs.check_paid_once(4)

    told = runs.run("--dry-run", "--then", "U1,V2", "--price", "0.5")
    assert {"new": 0, "done": 4, "follow_ups": 8, "cost": 4.0}.items() <= told.items()
    told = runs.run("--then", "u1")
    assert {"total": 8, "succeeded": 8, "submissions": 4, "done_before": 4}.items() <= told.items()
    assert len(list(runs.out.glob("*-U1.png"))) == 4, "blends that were done already are carried on"


def test_a_run_within_a_budget_ends_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    runs = Runs(tmp_path, small_manifest(tmp_path, 6), *QUICK)
    told = runs.run("--max-cost", "1.1", "--price", "0.5", "--weight", "3", code=3)
    assert {"outcome": "paused", "unfinished": 4, "submissions": 2}.items() <= told.items()
    assert "is paused (budget)" in told["said"]
    again = runs.run(code=3)
    assert {"outcome": "paused", "submissions": 0, "total": 6}.items() <= again.items()
    assert "--max-submissions" in again["said"]
    assert "starting" not in again["said"], "for nothing"
    runs.manifest.write_text("\n".join(runs.manifest.read_text().splitlines()[:4]))
    told = runs.run(code=3)
    assert (told["total"], told["others"]) == (4, 2)
    assert "2 unfinished jobs" in told["said"], "rows that were taken out are not paid for without a word"
    told = runs.run("--cancel-others", "--max-submissions", "6")
    assert {"succeeded": 4, "total": 4, "submissions": 2}.items() <= told.items()
    runs.check_paid_once(4)


def test_two_takes_of_each_row_and_none_for_another_campaign(tmp_path: Path) -> None:
    runs = Runs(tmp_path, small_manifest(tmp_path, 3), *QUICK)
    assert runs.run()["succeeded"] == 3
    told = runs.run("--repeat", "2")
    assert {"total": 6, "succeeded": 6, "done_before": 3, "submissions": 3}.items() <= told.items()
    assert [line["picture"] for line in runs.results()] == [
        name for row in range(3) for name in (f"row-{row}.png", f"row-{row}-2.png")
    ]
    runs.check_paid_once(6)

    other = ("--campaign", "other", "--reuse")
    told = runs.run(*other, "--dry-run", "--price", "1")
    assert {"total": 3, "new": 0, "reused": 3, "bytes_to_send": 0, "cost": 0}.items() <= told.items()
    told = runs.run(*other)
    assert {"total": 3, "succeeded": 3, "reused": 3, "submissions": 0}.items() <= told.items()
    assert "starting" not in told["said"], "for nothing"
    assert all(line["reused_from"].startswith("job_") for line in runs.results())
    assert len(runs.ledger()) == 6


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    place = tmp_path / "pictures"
    place.mkdir()
    small_manifest(place, 3)
    runs = Runs(tmp_path, place, *QUICK, "--pair", "all", "--dimensions", "PORTRAIT")
    told = runs.run()
    assert {"total": 6, "succeeded": 6}.items() <= told.items()
    assert told["campaign"].startswith("pictures-")
    assert [line["custom_id"] for line in runs.results()] == ["0+1", "0+2", "0+3", "1+2", "1+3", "2+3"]
    assert {line["dimensions"] for line in runs.results()} == {"PORTRAIT"}
    assert (runs.out / "0+1.png").exists()
    runs.check_pictures(6)
    assert runs.run()["submissions"] == 0


# What the process itself has used at most, in KiB, is the last word that it says. getrusage does not tell: its peak
# comes down through fork and exec (Linux, getrusage(2)), so that of the tests' own process would be counted.
MEASURED = """
import re, sys
from pathlib import Path
from ops.cli import main
code = main(sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1], file=sys.stderr)
sys.exit(code)
"""


def test_many_rows_take_little_memory(tmp_path: Path) -> None:
    small_manifest(tmp_path, 1)
    manifest = tmp_path / "many.jsonl"
    line = '{{"images": ["0.png", "1.png"], "instance_id": "{}", "custom_id": "row-{}", "metadata": {{"of": "{}"}}}}\n'
    manifest.write_text("".join(line.format(n, n, "x" * 1000) for n in range(20_000)))
    runs = Runs(tmp_path, manifest, "--sandbox")
    command = [sys.executable, "-c", MEASURED, *runs.command("--dry-run")[3:]]
    done = subprocess.run(command, env=runs.environment, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout)["new"] == 20_000
    assert int(done.stderr.split()[-1]) < 300 << 10

"""A long run, as short as can be: it stops, goes on, and judges itself. Nothing here is timed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ops.bench.long_run.__main__ import main
from ops.bench.long_run.samples import WORKING, read


def short_run(folder: Path, *options: str) -> dict[str, Any]:
    sizes = ["--jobs", "6", "--picture-bytes", "2000", "--every", "0.1"]
    assert main(["--out", str(folder), *sizes, *options]) == 0
    return dict(json.loads((folder / "run.json").read_text()))


@pytest.mark.usefixtures("server_binary")
def test_a_run_that_had_no_time_goes_on_and_each_job_has_its_picture(tmp_path: Path) -> None:
    before = short_run(tmp_path, "--minutes", "0")["verdict"]
    assert (before["jobs"], before["submissions"]) == ({}, 0)
    report = short_run(tmp_path)
    assert (report["verdict"]["jobs"], report["verdict"]["submissions"]) == ({"succeeded": 6}, 6)
    assert report["rows"][0]["lines"][-1]["figures"]["jobs"] == 6
    working = [one for one in read(tmp_path / "samples.jsonl") if one.doing == WORKING]
    assert working[-1].rss_mb["worker"] > 0
    ElementTree.parse(tmp_path / "run.svg")


@pytest.mark.usefixtures("server_binary")
def test_two_workers_share_and_the_sandbox_s_ledger_has_each_job_once(tmp_path: Path) -> None:
    verdict = short_run(tmp_path, "--sandbox", "--workers", "2", "--kept", "300")["verdict"]  # those are another's
    assert (verdict["jobs"], verdict["submissions"]) == ({"succeeded": 6}, 6)
    logs = {one.name: one.read_text() for one in (tmp_path / "data" / "logs").glob("worker*.log")}
    assert logs.keys() == {"worker.log", "worker-2.log"}
    assert all("ready" in log for log in logs.values())


def test_a_folder_of_another_run_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plan.json").write_text(
        '{"jobs": [7], "finish": null, "picture_bytes": 1, "workers": 1, "threads": 1, "speed": null}'
    )
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), "--jobs", "6"])
    assert "or another folder" in capsys.readouterr().err
    assert [one.name for one in tmp_path.iterdir()] == ["plan.json"]

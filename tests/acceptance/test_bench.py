"""The benchmarks run, and say what they found. Nothing here is timed: figures of a busy machine prove nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ops.bench.__main__ import main


@pytest.mark.usefixtures("server_binary")
def test_the_smallest_case_gives_a_report(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["enqueue", "small", "--smallest", "--json", "--out", str(tmp_path)]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert report["machine"]["processors"] >= 1
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert "| blendq: jobs/s at least 50,000 |" in (tmp_path / "report.md").read_text()
    enqueued, row = report["rows"]
    assert [line["who"] for line in enqueued["lines"]] == ["blendq", "limit: bare Redis writes"]
    (target,) = enqueued["targets"]
    assert target["measured"] == enqueued["lines"][0]["figures"]["jobs/s"] > 0
    lines = {line["who"]: line for line in row["lines"]}
    assert list(lines) == ["blendq", "limit: raw sockets", "limit: bare Redis writes"]
    assert lines["blendq"]["problems"] == {}
    assert {"jobs/s", "CPU ms a job", "worker ms", "receiver ms", "redis ms", "worker peak MB"} <= set(
        lines["blendq"]["figures"]
    )
    assert all(line["figures"]["jobs/s"] > 0 for line in lines.values())
    assert set(row["ratios"]) == {"limit: raw sockets", "limit: bare Redis writes"}

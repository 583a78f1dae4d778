"""The benchmarks run, and say what they found. Nothing here is timed: figures of a busy machine prove nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ops.bench.__main__ import main


@pytest.mark.usefixtures("server_binary")
def test_the_smallest_case_gives_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["small", "--smallest", "--peers", "", "--json"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert report["machine"]["processors"] >= 1
    (row,) = report["rows"]
    lines = {line["who"]: line for line in row["lines"]}
    assert list(lines) == ["blendq", "limit: raw sockets", "limit: bare Redis writes"]
    assert lines["blendq"]["problems"] == {}
    assert {"jobs/s", "CPU ms a job", "worker ms", "receiver ms", "redis ms", "worker peak MB"} <= set(
        lines["blendq"]["figures"]
    )
    assert all(line["figures"]["jobs/s"] > 0 for line in lines.values())
    assert set(row["ratios"]) == {"limit: raw sockets", "limit: bare Redis writes"}

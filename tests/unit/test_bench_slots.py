"""What the row about slots makes of a run of ops.bench.flow."""

from __future__ import annotations

import pytest

from ops.bench.slots import _delay, _figures


def test_a_phase_is_told_in_shares_and_task_times() -> None:
    phase = {"busy_share": 0.975, "slots": 31, "followed_after_seconds": 9.0, "answers": {"1": 95, "22": 4, "23": 1}}
    found = _figures(phase)
    assert found == {"busy %": 97.5, "slots": 31, "followed, task times": 2, "22 %": 4, "23 %": 1}
    assert "followed, task times" not in _figures(phase | {"followed_after_seconds": None, "answers": {}})


@pytest.mark.parametrize(
    ("told", "ms"), [("58 ms median, 175 ms 95 % (40)", {"free to upload, ms": 58}), ("too few", {})]
)
def test_a_delay_is_told_by_its_median(told: str, ms: dict[str, float]) -> None:
    assert _delay("urgent jobs", told).figures == ms

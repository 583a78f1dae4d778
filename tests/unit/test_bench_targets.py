"""What the benchmarks' rows are held against."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.bench.report import Line, Row
from ops.bench.targets import FIRST, LAST, TARGETS, Target, judged, to_text

ROW = Row("growth", "", [Line("1,000 kept", {"ms": 10.0}), Line("peer", {"ms": 8.0}), Line("9,000 kept", {"ms": 11.0})])


@pytest.mark.parametrize(
    ("target", "measured", "met"),
    [
        (Target("ms", least=10), 10, True),
        (Target("ms", least=10.1), 10, False),
        (Target("ms", most=10), 10, True),
        (Target("ms", most=9.9), 10, False),
        (Target("ms", most=8, who="peer"), 8, True),
        (Target("ms", least=1.25, beside="peer"), 1.25, True),
        (Target("ms", most=1.2, who=LAST, beside=FIRST), 1.1, True),
        (Target("ms", most=1, who=LAST, beside=FIRST), 1.1, False),
    ],
)
def test_a_bound_is_met_or_not(target: Target, measured: float, met: bool) -> None:
    found = target.judged(ROW)
    assert found is not None
    assert (found.measured, found.met) == (measured, met)


@pytest.mark.parametrize("target", [Target("ms", least=1, who="nobody"), Target("ms", least=1, beside="nobody")])
def test_who_did_not_take_part_is_not_judged(target: Target) -> None:
    assert target.judged(ROW) is None


@pytest.mark.parametrize("target", [Target("MB", most=1), Target("ms", most=1, who="idle", beside="peer")])
def test_what_was_never_seen_is_not_met(target: Target) -> None:
    row = replace(ROW, lines=[*ROW.lines, Line("idle", {})])
    found = target.judged(row)
    assert found is not None
    assert not found.met
    assert "| never | **not met** |" in to_text([found])


def test_a_target_reads_as_a_sentence_and_says_whether_it_was_met() -> None:
    row = Row("small jobs", "", [Line("blendq", {"jobs/s": 60.0}), Line("celery", {"jobs/s": 120.0})])
    assert "| blendq: jobs/s at least 2 times that of celery | 0.5 | **not met** |" in to_text(judged(row))
    assert judged(Row("idle", "", row.lines)) == []


def test_each_target_has_one_bound() -> None:
    every = [target for targets in TARGETS.values() for target in targets]
    assert [target for target in every if (target.least is None) is (target.most is None)] == []

"""What ops.bench.outage makes of what it saw."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from jobs.job import Status
from ops.bench.flow_plot import Sample
from ops.bench.outage import _parser, busy, judged, phases, plot


def sample(at: float, running: int, capacity: int = 4) -> Sample:
    return Sample(at, running, running, 0, capacity, 4)


@pytest.mark.parametrize(
    ("samples", "share"),
    [
        ([sample(0, 0), sample(9, 0), sample(10, 4), sample(11, 2)], 0.75),
        ([sample(0, 1)], 0.25),
        ([sample(0, 0, capacity=0)], None),
        ([sample(0, 9)], 1.0),
    ],
    ids=["settled", "too short to settle", "no cores", "more than it has"],
)
def test_how_busy_an_api_was_is_told_of_the_time_after_it_settled(samples: list[Sample], share: float | None) -> None:
    assert busy(samples, task_seconds=5.0) == share


def test_each_api_has_a_plot_of_its_own() -> None:
    options = _parser().parse_args(["--out", "x", "--fault", "key"])
    assert [phase.name for phase in phases(options)] == ["all well", "key", "well again"]
    drawn = plot({"one": [sample(0, 1), sample(1, 2)], "two": [sample(0, 3), sample(1, 4)]}, options)
    words = [element.text for element in ElementTree.fromstring(drawn).iter() if element.text]
    assert words.count("worked on") == words.count("well again") == 2
    assert {"one", "two"} <= set(words)


def test_the_ledgers_say_what_was_paid_twice_and_what_is_lost() -> None:
    statuses = dict.fromkeys("abc", Status.SUCCEEDED) | {"d": Status.UNSURE}
    entries = {"one": [{"token": "a/1"}, {"token": "b/1"}], "two": [{"token": "a/2"}, {"token": "e/1"}]}
    found = judged(statuses, entries)
    assert (found.jobs, found.paid, found.ended) == (4, {"one": 2, "two": 2}, {"succeeded": 3, "unsure": 1})
    assert (found.twice, found.lost) == (["a"], ["d", "e"])

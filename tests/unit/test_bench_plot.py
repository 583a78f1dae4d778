"""What ops.bench.plot draws."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from ops.bench.plot import HEIGHT, Line, Panel, _round_step, _time, drawing

SVG = "{http://www.w3.org/2000/svg}"


def words(drawn: ElementTree.Element) -> list[str]:
    return [one.text or "" for one in drawn.iter(f"{SVG}text")]


def test_panels_stand_one_below_the_other_over_the_same_time() -> None:
    first = Panel([Line("memory", "#111", [(0, 10), (7200, 20)])], [(3600, "all enqueued")], "MB")
    second = Panel([Line("rate", "#999", [(0, 70), (3600, 60)])], unit="jobs/s")
    drawn = ElementTree.fromstring(drawing([first, second]))
    assert drawn.get("viewBox") == f"0 0 960 {2 * HEIGHT}"
    assert {"MB", "jobs/s", "memory", "rate", "all enqueued"} <= set(words(drawn))
    assert words(drawn).count("120 min") == 2, "each has the whole time below it"
    above, below = (one.get("d", "") for one in drawn.iter(f"{SVG}path") if one.get("fill") == "none")
    assert above.startswith("M50.0 ")
    assert float(below.split(" ")[1].partition("H")[0]) > HEIGHT


def test_names_of_moments_that_are_close_stand_one_below_the_other() -> None:
    line = Line("rate", "#999", [(0, 1), (100, 1)])
    drawn = ElementTree.fromstring(drawing([Panel([line], [(0, "it begins"), (1, "it goes on"), (60, "it ends")])]))
    heights = {one.text: float(one.get("y", "")) for one in drawn.iter(f"{SVG}text")}
    assert heights["it begins"] < heights["it goes on"]
    assert heights["it begins"] == heights["it ends"], "where there is room again, the first line is taken"


def test_nothing_to_draw_is_still_a_drawing() -> None:
    drawn = ElementTree.fromstring(drawing([Panel([Line("rate", "#999", [])])]))
    assert "rate" in words(drawn)


@pytest.mark.parametrize(("most", "step"), [(0.9, 0.1), (31, 5), (105, 20), (1_000_000, 100_000)])
def test_values_are_marked_at_round_numbers(most: float, step: float) -> None:
    assert _round_step(most) == pytest.approx(step)


@pytest.mark.parametrize(("seconds", "step", "text"), [(30, 10, "30 s"), (1800, 600, "30 min"), (5400, 1800, "90 min")])
def test_times_are_told_in_the_unit_of_their_step(seconds: float, step: float, text: str) -> None:
    assert _time(seconds, step) == text

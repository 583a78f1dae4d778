"""What ops.bench.flow makes of what it saw: its plot, and which slot a job took."""

from __future__ import annotations

from datetime import timedelta
from xml.etree import ElementTree

from jobs.history import HistoryEntry
from jobs.job import Status
from ops.bench.flow_delays import Way, _replacements
from ops.bench.flow_plot import Sample, plot
from tests.unit.flow_world import BEGINNING


def way(**at: float) -> Way:
    """A job that was released, and gave its slot back, at such seconds."""
    moved = {"release": (Status.WAITING, Status.RELEASED), "task_seen": (Status.RUNNING, Status.COLLECTING)}
    lines = [
        HistoryEntry(
            at=BEGINNING + timedelta(seconds=seconds), event=event, before=moved[event][0], after=moved[event][1]
        )
        for event, seconds in at.items()
    ]
    return Way("flow", lines)


def test_a_job_takes_the_slot_that_became_free_last_and_each_slot_is_taken_once() -> None:
    ways = [
        way(release=0, task_seen=10),
        way(release=1, task_seen=11),
        way(release=12),
        way(release=13),
        way(release=14),
    ]
    taken = [(ways.index(one), (freed - BEGINNING).total_seconds()) for one, freed in _replacements(ways)]
    assert taken == [(2, 11), (3, 10)], "the first two and the last took new ones"


def test_the_plot_is_a_drawing_whose_lines_change_where_the_samples_do() -> None:
    samples = [Sample(0, 3, 3, 0, 30, 3), Sample(1, 3, 3, 0, 30, 3), Sample(2, 5, 4, 1, 30, 5)]
    drawing = ElementTree.fromstring(plot(samples, [(0, "from nothing")]))
    lines = [one.get("d", "") for one in drawing.iter("{http://www.w3.org/2000/svg}path") if one.get("fill") == "none"]
    assert [line.count("V") for line in lines] == [0, 1, 1, 1, 1], "the capacity stays"
    assert "from nothing" in "".join(drawing.itertext())

"""How recovery is measured: by the records' histories and the ledger, from the moment at which a fault struck."""

from __future__ import annotations

from datetime import UTC, datetime

from jobs.history import HistoryEntry
from jobs.job import Status
from ops.chaos.schedule import Fault
from ops.chaos.strike import NEVER, Strike

ORIGIN = 1000.0


def history(*steps: tuple[float, Status]) -> list[HistoryEntry]:
    return [HistoryEntry(at=datetime.fromtimestamp(ORIGIN + at, UTC), event="x", after=after) for at, after in steps]


def strike(kind: str = "worker-kill", struck: float = 10.0, ended: float = 10.0) -> Strike:
    return Strike(Fault(0, kind, 5, 0.0), began=struck - 1.0, struck=struck, ended=ended)


def test_it_takes_as_long_as_the_last_job_that_was_in_hands() -> None:
    one = strike()
    histories = {
        "uploaded": history((9.0, Status.SUBMITTING), (31.0, Status.WAITING)),
        "committed": history((9.9, Status.COMMITTED), (32.5, Status.UNSURE), (60.0, Status.PARKED)),
        "waiting": history((1.0, Status.WAITING), (99.0, Status.RELEASED)),
        "done": history((5.0, Status.SUCCEEDED)),
        "claimed later": history((10.5, Status.SUBMITTING), (95.0, Status.WAITING)),
    }
    one.measure(ORIGIN, [], histories)
    assert one.held_for == 22.5
    assert list(one.too_slow()) == []


def test_what_never_moves_again_is_too_slow() -> None:
    one = strike()
    one.measure(ORIGIN, [], {"job": history((9.0, Status.COLLECTING))})
    assert one.held_for == NEVER
    assert len(list(one.too_slow())) == 1


def test_only_a_death_is_measured_by_what_was_in_hands() -> None:
    one = strike("redis-kill")
    one.measure(ORIGIN, [], {"job": history((9.0, Status.SUBMITTING), (99.0, Status.WAITING))})
    assert one.held_for is None


def test_after_an_outage_the_next_acceptance_counts() -> None:
    one = strike("redis-kill", ended=20.0)
    one.measure(ORIGIN, [ORIGIN + at for at in (9.0, 19.0, 111.0, 112.0)], {})
    assert one.accepted_after == 91.0
    assert len(list(one.too_slow())) == 1


def test_nothing_left_to_submit_is_no_outage() -> None:
    one = strike("redis-kill", ended=20.0)
    one.measure(ORIGIN, [ORIGIN + 19.0], {})
    assert one.accepted_after is None
    assert list(one.too_slow()) == []

"""The results' folder is brought up to date while a run goes on, as often as is cheap."""

from __future__ import annotations

from itertools import pairwise

import pytest

from jobs.errors import BlendqError, StoreUnavailable
from ops.cli.refreshing import FIRST_SECONDS, LEAST_SECONDS, SHARE, Refreshing


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_it_is_written_now_and_then_and_only_when_more_is_finished(clock: Clock) -> None:
    written: list[float] = []
    refreshing = Refreshing(lambda: written.append(clock.now))
    refreshing.look(1)
    assert written == []
    clock.now += FIRST_SECONDS
    refreshing.look(0)
    assert written == []
    refreshing.look(1)
    assert written == [clock.now]
    clock.now += LEAST_SECONDS / 2
    refreshing.look(2)
    assert len(written) == 1, "too soon"
    clock.now += LEAST_SECONDS / 2
    refreshing.look(1)
    assert len(written) == 1, "nothing new"
    refreshing.look(2)
    assert written[1:] == [clock.now]


def test_it_takes_a_small_share_of_the_time(clock: Clock) -> None:
    began: list[float] = []

    def write() -> None:
        began.append(clock.now)
        clock.now += 10

    refreshing = Refreshing(write)
    for finished in range(1, 4000):
        clock.now += 1
        refreshing.look(finished)
    gaps = [later - earlier for earlier, later in pairwise(began)]
    assert len(gaps) > 10
    assert all(10 / gap <= SHARE for gap in gaps)


def test_a_folder_that_cannot_be_written_is_told_of_once(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    problems = iter([StoreUnavailable("away"), BlendqError("the disk is full"), BlendqError("the disk is full")])

    def write() -> None:
        raise next(problems)

    refreshing = Refreshing(write)
    for finished in (1, 2, 3):
        clock.now += LEAST_SECONDS
        refreshing.look(finished)
    assert next(problems, None) is None
    assert capsys.readouterr().err.count("the disk is full; the run goes on") == 1

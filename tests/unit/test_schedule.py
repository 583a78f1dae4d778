"""When a schedule runs: cron, seconds, time zones, daylight saving; and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import UsageError
from jobs.schedule import Overlap, Schedule
from jobs.server import from_ms, to_ms

MOMENTS = st.integers(1_577_836_800, 2_051_222_400).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


def schedule(**fields: Any) -> Schedule:
    return Schedule.parse(name="nightly", manifest="/in/pairs.csv", **fields)


def times(one: Schedule, after: str, count: int) -> list[str]:
    return [f"{at:%m-%d %H:%M:%S}" for at in one.next_times(datetime.fromisoformat(after), count)]


def test_every_night_at_three_in_berlin() -> None:
    found = times(schedule(cron="0 3 * * *", timezone="Europe/Berlin"), "2026-11-22T12:00Z", 2)
    assert found == ["11-23 02:00:00", "11-24 02:00:00"]


def test_a_time_that_the_clock_skips_comes_once_right_after() -> None:
    """On 2026-03-29 Berlin has no 02:30."""
    found = times(schedule(cron="30 2 * * *", timezone="Europe/Berlin"), "2026-03-28T12:00Z", 2)
    assert found == ["03-29 01:00:00", "03-30 00:30:00"]


def test_a_time_that_the_clock_shows_twice_comes_once() -> None:
    """On 2026-10-25 Berlin has 02:30 twice."""
    found = times(schedule(cron="30 2 * * *", timezone="Europe/Berlin"), "2026-10-24T12:00Z", 2)
    assert found == ["10-25 00:30:00", "10-26 01:30:00"]


def test_what_runs_every_hour_runs_by_real_time() -> None:
    autumn = schedule(cron="0 * * * *", timezone="Europe/Berlin").next_times(datetime(2026, 10, 24, 22, tzinfo=UTC), 8)
    spring = schedule(cron="0 * * * *", timezone="Europe/Berlin").next_times(datetime(2026, 3, 28, 22, tzinfo=UTC), 8)
    for found in (autumn, spring):
        assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(hours=1)}


@given(
    MOMENTS,
    st.sampled_from(["*/7 * * * *", "30 2 * * *", "0 */2 * * 1-5", "15 1,2,3 * * 0"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
)
def test_times_only_move_forward_and_are_the_same_from_wherever_they_are_counted(
    moment: datetime, cron: str, zone: str
) -> None:
    """A scheduler that counts from the last run, and one that counts from any moment before, agree."""
    one = schedule(cron=cron, timezone=zone)
    found = one.next_times(moment, 5)
    assert all(earlier < later for earlier, later in pairwise([moment, *found]))
    assert found[1:] == one.next_times(found[0], 4)


@given(MOMENTS, st.sampled_from([1.0, 2.0, 7.5, 86400.0, 86400 / 7, 1.0001]))
def test_every_few_seconds_is_counted_from_one_moment_for_all(moment: datetime, seconds: float) -> None:
    one = schedule(every_seconds=seconds)
    found = one.next_times(moment, 4)
    assert moment < found[0] <= moment + timedelta(seconds=seconds, milliseconds=1)
    assert found[1:] == one.next_times(found[0], 3)
    assert all(from_ms(to_ms(at)) == at for at in found), "it is kept in milliseconds"


def test_a_runs_campaign_is_named_by_its_time() -> None:
    at = datetime(2026, 11, 23, 2, 0, 0, 500_000, tzinfo=UTC)
    assert schedule(cron="0 3 * * *").campaign_of(at) == "nightly-20261123T020000500Z"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "either a cron expression (--cron) or a number of seconds"),
        ({"cron": "* * * * *", "every_seconds": 5}, "either a cron expression"),
        ({"cron": "often"}, "'often' never comes, or is no cron expression"),
        ({"cron": "61 * * * *"}, "no cron expression"),
        ({"cron": "0 0 30 2 *"}, "never comes"),
        ({"cron": "* * * * *", "timezone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        ({"cron": "* * * * *", "timezone": "../../etc/passwd"}, "no time zone"),
        ({"every_seconds": 0.1}, "every_seconds must be at least 1"),
        ({"every_seconds": 5, "overlap": "sometimes"}, "overlap must be one of"),
        ({"every_seconds": 5, "catch_up_seconds": -1}, "catch_up_seconds must be at least 0"),
    ],
)
def test_what_cannot_be_is_refused_in_plain_words(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        schedule(**fields)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_name_begins_campaign_names() -> None:
    with pytest.raises(UsageError, match="name must look like"):
        Schedule.parse(name="a b", manifest="/x", cron="* * * * *")
    assert Schedule.parse(name="a", manifest="/x", every_seconds=5, timezone=None).overlap is Overlap.SKIP

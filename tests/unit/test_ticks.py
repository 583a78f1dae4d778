"""When beat sends a tick, and when it need not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from celery.beat import Scheduler

from jobs.errors import StoreUnavailable
from jobs.queue import DISPATCH, make_app
from jobs.settings import Settings
from worker.ticks import MAX_WAITING, Ticks


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    sent: list[str] = []
    monkeypatch.setattr(Scheduler, "apply_async", lambda _, entry, *_args, **_named: sent.append(entry.name))
    return sent


def ticks(waiting: Callable[[], int], alive: Callable[[], None]) -> Any:
    app: Celery = make_app(Settings(redis_url="redis://127.0.0.1:1"))
    return Ticks(app=app, waiting=waiting, alive=alive)


@pytest.mark.parametrize(("waiting", "expected"), [(0, [DISPATCH]), (MAX_WAITING - 1, [DISPATCH]), (MAX_WAITING, [])])
def test_ticks_do_not_pile_up(sent: list[str], waiting: int, expected: list[str]) -> None:
    alive: list[None] = []
    one = ticks(lambda: waiting, lambda: alive.append(None))
    one.apply_async(one.schedule[DISPATCH])
    assert (sent, len(alive)) == (expected, 1)


def test_without_redis_no_tick_is_sent_and_beat_does_not_look_alive(sent: list[str]) -> None:
    alive: list[None] = []

    def away() -> int:
        raise StoreUnavailable("away")

    one = ticks(away, lambda: alive.append(None))
    assert one.apply_async(one.schedule[DISPATCH]) is None
    assert (sent, alive) == ([], [])


def test_a_tick_has_no_time_to_live(sent: list[str]) -> None:
    """The clocks of beat and workers may differ by hours."""
    one = ticks(lambda: 0, lambda: None)
    assert "expires" not in one.schedule[DISPATCH].options
    assert sent == []

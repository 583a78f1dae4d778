"""One ahead: while one step is under way elsewhere, the next is made ready here."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
Outcome = Callable[[], T]
# Begins when it is called, and ends when what that returns is called. None: what is under way is to end first.
Step = Callable[[], Outcome[T]] | None


def one_ahead(steps: Iterator[Step[T]]) -> Generator[T, None, None]:
    """The outcomes of steps, in order. No step begins before the one before it has ended.

    Args:
        steps: are taken one at a time, and making one ready may take its time: the one before is under way meanwhile.
            What goes wrong with that is raised after the outcome of the one before.
    """
    under_way: Outcome[T] | None = None
    try:
        for begin in _with_its_error(steps):
            ended, under_way = under_way, None
            outcomes = [ended()] if ended else []
            under_way = begin() if begin else None
            yield from outcomes
        if under_way:
            ended, under_way = under_way, None
            yield ended()
    finally:
        if under_way:
            with suppress(Exception):  # nobody waits for it any more; but what was begun is to end
                under_way()


def _with_its_error(steps: Iterator[Step[T]]) -> Iterator[Step[T]]:
    """An error becomes the last step: it has its place among the outcomes."""
    try:
        yield from steps
    except Exception as error:  # noqa: BLE001  (whatever it is, it is raised again)
        problem = error

        def fail() -> T:
            raise problem

        yield lambda: fail

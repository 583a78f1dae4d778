"""One step under way, the next made ready: what happens when, and what becomes of errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from producer.ahead import one_ahead


class Steps:
    """Says what happened to which step; `bad` are told where they go wrong."""

    def __init__(self, **bad: int) -> None:
        self.bad = bad
        self.said: list[str] = []

    def __call__(self) -> Iterator[Callable[[], Callable[[], int]]]:
        for number in range(3):
            self._say("ready", number)
            yield lambda number=number: self._begin(number)  # type: ignore[misc]

    def _begin(self, number: int) -> Callable[[], int]:
        self._say("begun", number)
        return lambda: self._say("ended", number)

    def _say(self, what: str, number: int) -> int:
        self.said.append(f"{what} {number}")
        if self.bad.get(what) == number:
            raise LookupError(f"{what} {number}")
        return number


def test_a_step_is_made_ready_while_the_one_before_is_under_way() -> None:
    steps = Steps()
    for number in one_ahead(steps()):
        steps.said.append(f"told {number}")
    assert steps.said == [
        "ready 0", "begun 0",
        "ready 1", "ended 0", "begun 1", "told 0",
        "ready 2", "ended 1", "begun 2", "told 1",
        "ended 2", "told 2",
    ]  # fmt: skip


def test_what_is_under_way_ends_before_a_wait() -> None:
    steps = Steps()
    waiting = (one for step in steps() for one in (step, None))
    assert next(outcomes := one_ahead(waiting)) == 0
    assert steps.said == ["ready 0", "begun 0", "ended 0"]
    assert list(outcomes) == [1, 2]


@pytest.mark.parametrize(
    ("where", "told", "last"),
    [("ready", [0, 1], "ended 1"), ("begun", [0], "begun 2"), ("ended", [0, 1], "ended 2")],
)
def test_an_error_has_its_place_among_the_outcomes(where: str, told: list[int], last: str) -> None:
    steps = Steps(**{where: 2})
    found: list[int] = []
    with pytest.raises(LookupError, match=f"{where} 2"):
        found.extend(one for one in one_ahead(steps()) if found.append(one))  # type: ignore[func-returns-value]
    assert (found, steps.said[-1]) == (told, last)


def test_whoever_leaves_has_what_was_begun_ended() -> None:
    steps = Steps(ended=1)
    outcomes = one_ahead(steps())
    assert next(outcomes) == 0
    outcomes.close()
    assert steps.said[-2:] == ["begun 1", "ended 1"]

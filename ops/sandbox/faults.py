"""Faults on demand: what the sandbox does wrong, set by start flags and changed while it runs."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

SPOILS = ("truncated", "wrong-type", "html", "empty", "bomb", "redirect", "expired")
MAX_SECONDS = 3600.0
MAX_REPEATS = 100


T = TypeVar("T")


def _fault(default: T, words: str) -> T:
    """A field of `Faults`, with what `--help` says of it."""
    return field(default=default, metadata={"words": words})


@dataclass(frozen=True)
class Faults:
    """Shares are chances from 0 to 1; seconds are real ones, whatever the speed of the simulated time."""

    # Before a submission is accepted: nothing is taken, and nothing paid for.
    fail_5xx: float = _fault(0.0, "share of submissions that get 500, 502 or 503; not accepted")
    no_account: bool = _fault(False, "code 3")
    quota: bool = _fault(False, "code 4, quota_not_enough")
    banned: bool = _fault(False, "code 24")
    queue_full: bool = _fault(False, "code 23")
    internal_error: bool = _fault(False, "code 9; not accepted")
    rate_limit: bool = _fault(False, "HTTP 429")
    refuse_key: bool = _fault(False, "401, to questions too")
    html_answers: bool = _fault(False, "a browser check with status 200, to questions too; not accepted")
    # After it was accepted: it is paid for, whatever the answer says.
    lose_answer: float = _fault(0.0, "share of accepted ones whose connection closes without an answer")
    fail_5xx_after: float = _fault(0.0, "share of accepted ones that get 500, 502 or 503")
    lose_in_gateway: float = _fault(0.0, "share that get do_request_failed or insert_midjourney_task_failed, by turns")
    existed: bool = _fault(False, "code 21: with the earlier task of the same content, else with the new one")
    duplicate_ids: bool = _fault(False, "the new task gets the id of the newest one")
    late_22: bool = _fault(
        False, "as the open-source server counts: 1 while nobody else waits, else 22 with their number"
    )
    # Any answer.
    hang_seconds: float = _fault(0.0, "so long every answer takes")
    fail_queries: float = _fault(0.0, "share of questions that get a 5xx")
    # The task's life.
    fail_tasks: float = _fault(0.0, "share of tasks that end as FAILURE")
    flip_failures: bool = _fault(False, "FAILURE first, SUCCESS a moment later")
    swap_pictures: bool = _fault(False, "two neighbours in the ledger get each other's")
    share_pictures: bool = _fault(False, "a task shows the picture of the last one that succeeded")
    spoil_pictures: str = _fault("", "what comes instead of every picture, while this is set")
    spoil_for_good: str = _fault("", "the same, for ever, of the tasks that succeed while this is set")
    expire_links: bool | str = _fault(False, "once: the first link is dead; always: only the newest fetch's link works")
    # Callbacks.
    drop_callbacks: float = _fault(0.0, "share of callbacks that are never sent")
    repeat_callbacks: int = _fault(0, "how many more times each is sent")
    reorder_callbacks: bool = _fault(False, "they overtake each other")
    delay_callbacks_seconds: float = _fault(0.0, "so much later each is sent")
    callback_before_answer: bool = _fault(False, "the answer waits until one callback was delivered")

    def merged(self, changes: Mapping[str, object]) -> Faults:
        """These faults with some changed.

        Raises:
            ValueError: a name is unknown, or a value is of the wrong type or out of range.
        """
        return replace(self, **{name: _checked(name, value) for name, value in changes.items()})  # type: ignore[arg-type]


DEFAULTS: dict[str, bool | int | float | str] = {one.name: one.default for one in fields(Faults)}  # type: ignore[misc]
WORDS: dict[str, str] = {one.name: one.metadata["words"] for one in fields(Faults)}


def _checked(name: str, value: object) -> bool | int | float | str:
    if name not in DEFAULTS:
        raise ValueError(f"unknown fault {name!r}; known: {', '.join(sorted(DEFAULTS))}")
    if name == "expire_links" and value == "once":
        return "once"
    default = DEFAULTS[name]
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false")  # noqa: TRY004 - one error for all of the input
        return value
    if isinstance(default, str):
        if value not in ("", *SPOILS):
            raise ValueError(f"{name} must be one of {', '.join(SPOILS)}, or empty")
        return str(value)
    return _number(name, value, whole=isinstance(default, int))


def _number(name: str, value: object, *, whole: bool) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise ValueError(f"{name} must be a {'whole ' if whole else ''}number")  # noqa: TRY004 - as above
    limit = MAX_REPEATS if whole else MAX_SECONDS if name.endswith("_seconds") else 1.0
    if not 0 <= value <= limit:
        raise ValueError(f"{name} must be from 0 to {limit:g}")
    return value if whole else float(value)


class Chance:
    """All the sandbox's dice, from one seed."""

    def __init__(self, seed: int | None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose

    def strikes(self, share: float) -> bool:
        """Whether something that happens with this chance happens now."""
        return share > 0 and self._random.random() < share

    def between(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def digits(self, count: int) -> str:
        return f"{self._random.randrange(10**count):0{count}d}"

    def one_of(self, choices: tuple[str, ...]) -> str:
        return self._random.choice(choices)

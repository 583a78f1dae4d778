"""Steps: what is asked of the server on the way to a change, one after the other; by whoever carries them out.

What a change comes to is decided the same way for a thread that waits for each answer, and for an event loop that does
something else meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from jobs.writing.write import Write


@dataclass(frozen=True, slots=True)
class Load:
    """The server's time, and these records. Answered as `Records.loaded` says."""

    job_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Save:
    """What was decided, by a script that may be repeated. Answered with what it returns."""

    writes: Sequence[Write]
    keys: Sequence[str]
    args: Sequence[str | bytes]


@dataclass(frozen=True, slots=True)
class Orders:
    """So many places in the order of all jobs. Answered with the first."""

    count: int


T = TypeVar("T")
Step = Load | Save | Orders
Steps = Generator[Step, Any, T]


def carried_out(steps: Steps[T], ask: Callable[[Step], Any]) -> T:
    """What the steps come to. What `ask` raises, they hear of.

    Args:
        steps: one after the other.
        ask: gives a step's answer.
    """
    try:
        step = next(steps)
        while True:
            try:
                answer = ask(step)
            except Exception as error:  # noqa: BLE001  (theirs to judge)
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        outcome: T = end.value
        return outcome


async def carried_out_by_a_loop(steps: Steps[T], ask: Callable[[Step], Awaitable[Any]]) -> T:
    """As `carried_out`; others go on while an answer is waited for."""
    try:
        step = next(steps)
        while True:
            try:
                answer = await ask(step)
            except Exception as error:  # noqa: BLE001  (theirs to judge)
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        outcome: T = end.value
        return outcome

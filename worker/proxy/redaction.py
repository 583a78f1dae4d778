"""Keeping the API key out of what servers say: some repeat the key that they refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from worker.proxy.answers import Accepted, Exists, NotSent, Queued, Refused, Unsure
from worker.proxy.lookups import CannotTell, Found, NotCancelled
from worker.proxy.task import TaskView

# Shorter keys could stand in honest words by chance.
MIN_KEY_CHARACTERS = 6

_Outcome = TypeVar("_Outcome")


def without_key(outcome: _Outcome, key: str) -> _Outcome:
    """`outcome` with `key` taken out of every word that is shown or kept. Ids, states and links stay as they are."""
    if len(key) < MIN_KEY_CHARACTERS:
        return outcome
    return _hide(outcome, key)  # type: ignore[no-any-return]


def _hide(value: Any, key: str) -> Any:
    match value:
        case str():
            return value.replace(key, "[key]")
        case dict():
            return {name: _hide(item, key) for name, item in value.items()}
        case Found(task):
            return replace(value, task=_hide(task, key))
        case TaskView(fail_reason=reason):
            return replace(value, fail_reason=_hide(reason, key))
        case CannotTell(message) | NotCancelled(message) | NotSent(message):
            return replace(value, message=_hide(message, key))
        case Refused(message=message, description=words) | Unsure(message=message, description=words):
            return replace(value, message=_hide(message, key), description=_hide(words, key))
        case Accepted(description=words) | Exists(description=words) | Queued(description=words):
            return replace(value, description=_hide(words, key))
        case _:
            return value

"""Keeping the API key out of what servers say: some repeat the key that they refuse, whole, cut or encoded."""

from __future__ import annotations

import base64
import html
import string
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any, TypeVar
from urllib.parse import quote

from worker.proxy.answers import Accepted, Exists, NotSent, Queued, Refused, Unsure
from worker.proxy.lookups import CannotTell, Found, NotCancelled
from worker.proxy.task import TaskView

# Shorter keys could stand in honest words by chance.
MIN_KEY_CHARACTERS = 6
# So much of a key gives it away; what is shorter stands in honest words too.
PIECE_CHARACTERS = 8
HIDDEN = "[key]"

_Outcome = TypeVar("_Outcome")
# Keeps the length of every text, which str.lower does not; some servers change the case of what they repeat.
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class Redaction:
    """Takes one key out of outcomes.

    Args:
        key: the API key; one shorter than 6 characters is not looked for.
    """

    def __init__(self, key: str) -> None:
        self._size = min(len(key), PIECE_CHARACTERS)
        forms = _forms(key) if len(key) >= MIN_KEY_CHARACTERS else ()
        self._pieces = frozenset(
            form[at : at + self._size].translate(_LOWER) for form in forms for at in range(len(form) - self._size + 1)
        )

    def apply(self, outcome: _Outcome) -> _Outcome:
        """`outcome` with the key taken out of every word that is shown or kept. Ids, states and links stay."""
        return _map(outcome, self.hide) if self._pieces else outcome

    def hide(self, text: str) -> str:
        """`text` with every piece of the key, in any of its usual forms, replaced."""
        lower, size = text.translate(_LOWER), self._size
        hidden = {
            place
            for at in range(len(text) - size + 1)
            if lower[at : at + size] in self._pieces
            for place in range(at, at + size)
        }
        runs = groupby(range(len(text)), hidden.__contains__)
        return "".join(HIDDEN if gone else "".join(text[at] for at in run) for gone, run in runs)


def _forms(key: str) -> Iterator[str]:
    """How a key may be written in an answer."""
    data = key.encode()
    yield from (key, quote(key, safe=""), html.escape(key), key.replace("/", r"\/"), data.hex())
    for before in range(3):
        # Base64 looks different after each number of bytes; its ends depend on what stands around the key.
        whole = base64.b64encode(bytes(before) + data)[-(-before * 8 // 6) : (before + len(data)) * 8 // 6].decode()
        yield from (whole, whole.translate(str.maketrans("+/", "-_")))


def _map(value: Any, hide: Callable[[str], str]) -> Any:
    match value:
        case str():
            return hide(value)
        case dict():
            return {name: _map(item, hide) for name, item in value.items()}
        case Found(task):
            return replace(value, task=_map(task, hide))
        case TaskView(fail_reason=reason):
            return replace(value, fail_reason=_map(reason, hide))
        case CannotTell(message) | NotCancelled(message) | NotSent(message):
            return replace(value, message=hide(message))
        case Refused(message=message, description=words) | Unsure(message=message, description=words):
            return replace(value, message=hide(message), description=hide(words))
        case Accepted(description=words) | Exists(description=words) | Queued(description=words):
            return replace(value, description=hide(words))
        case _:
            return value

"""What is told of the API: its slots, what is in them, how it answered, and why the slots last changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.events import AnswerKind
from jobs.report import rfc3339, shown_link
from jobs.settings import Settings
from jobs.slots.flow import Flow, Reading
from jobs.slots.pause import Pause
from jobs.slots.throttle import Move
from jobs.store import JobStore

# So it is called until there are several.
NAME = "default"
# As people know them; what was never sent is no answer.
CODES = {AnswerKind.ACCEPTED.value: "1", AnswerKind.QUEUED.value: "22", AnswerKind.NO_ROOM.value: "23"}
_NO_ANSWERS = frozenset({AnswerKind.NOT_SENT.value, AnswerKind.GIVEN_UP.value})


@dataclass(frozen=True)
class Upstream:
    """`limit` is the number of slots that was set, if one was; `answers` are those of the last hour, by kind."""

    url: str | None
    limit: int | None
    flow: Flow
    seen: Reading
    answers: Mapping[str, int]
    moves: list[Move] = field(repr=False)
    pause: Pause | None

    @classmethod
    def of(cls, store: JobStore, settings: Settings) -> Upstream:
        """
        Raises:
            StoreUnavailable: Redis does not answer in time.
        """
        flow, seen = store.throttle.read()
        answers, moves = store.throttle.answers_of_last_hour(), store.throttle.moves()
        return cls(settings.api_url, settings.slots, flow, seen, answers, moves, store.gate.paused())

    @property
    def slots(self) -> int:
        return self.flow.slots if self.limit is None else self.limit

    @property
    def shares(self) -> dict[str, float]:
        """Of the last hour's answers; what is no 1, 22 or 23 is `other`."""
        answers = {kind: count for kind, count in self.answers.items() if kind not in _NO_ANSWERS}
        total = sum(answers.values())
        if not total:
            return {}
        shares = {code: answers.get(kind, 0) / total for kind, code in CODES.items()}
        return {**shares, "other": max(0.0, 1 - sum(shares.values()))}

    def to_json(self) -> dict[str, Any]:
        return {
            "name": NAME,
            "url": shown_link(self.url),
            "slots": self.slots,
            "slots_set": self.limit is not None,
            "in_use": self.seen.held,
            "on_the_way": self.seen.on_the_way,
            "working": self.seen.working,
            "waiting": self.seen.waiting,
            "unsure": self.seen.unsure,
            "answers_last_hour": dict(self.answers),
            "shares_last_hour": {code: round(share, 4) for code, share in self.shares.items()},
            "one_at_a_time": bool(self.flow.trouble),
            "paused": self.pause and {"kind": self.pause.kind, "message": self.pause.message},
            "moved_at": rfc3339(self.flow.moved_at),
            "why": self.flow.why if self.limit is None else "the number of slots is set",
        }


def move_json(move: Move) -> dict[str, Any]:
    return vars(move) | {"at": rfc3339(move.at)}

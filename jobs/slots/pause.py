"""Pause: why nothing is submitted for a while; at all, to one upstream, or of one campaign."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

import redis

# Why submitting may be paused for a reason on our own side; the others are AnswerKinds.
OWN_REASONS = frozenset({"disk", "epoch"})
# Why one campaign may be paused.
PERSON, BUDGET, FAILURES = "person", "budget", "failures"


@dataclass(frozen=True)
class Pause:
    """`kind` is an AnswerKind's value or one of OWN_REASONS; of one campaign PERSON, BUDGET or FAILURES."""

    kind: str
    message: str
    at: datetime

    def to_json(self) -> str:
        return json.dumps({"kind": self.kind, "message": self.message, "at": self.at.isoformat()})

    @classmethod
    def from_json(cls, doc: bytes) -> Pause:
        fields = json.loads(doc)
        return cls(fields["kind"], fields["message"], datetime.fromisoformat(fields["at"]))


def keep_pause(client: redis.Redis, key: str, pause: Pause, seconds: float) -> bool:
    """Pause for a while; returns whether this is news. A pause that lasts gets more time, not another reason."""
    px = int(seconds * 1000)
    if client.set(key, pause.to_json(), px=px, nx=True):
        return True
    client.pexpire(key, px, gt=True)
    return False

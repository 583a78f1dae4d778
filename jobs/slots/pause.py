"""Pause: why nothing is submitted for a while; of all campaigns, or of one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

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

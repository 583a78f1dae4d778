"""What is known of an API's room: how things stand there, and what was found so far. `slots.flow` judges by them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

START_SLOTS = 3
CEILING_ANSWERS = 20
# What differs by less may be two servers' clocks.
CLOCK_STEP = timedelta(seconds=1)


class Flow(BaseModel):
    """What was found so far, and why it last changed. `*_seen` are the counts of the last look."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    slots: int = START_SLOTS
    step: int = 1
    cores_tried: int | None = None  # what the account data said when the slots were last raised to it
    found: bool = False  # it was full once: from then on raises are careful
    proving: bool = True  # the last raise is not judged yet
    ceiling: int | None = None
    ceiling_answers: int = CEILING_ANSWERS
    ceiling_until_taken: int = 0
    trouble: int = 0  # looks in a row at which jobs were turned away, and none was taken
    closed_until: datetime | None = None
    judge_at_taken: int = START_SLOTS  # then the jobs of the last raise have their answers
    answered_at: datetime | None = None  # that was so since then
    probe_at_taken: int = 0
    strays: int = 0  # jobs that wait at an account which starts none: they say nothing about the others
    stuck_since: datetime | None = None  # so long others wait, and nothing is worked on
    waiting_seen: int = 0
    taken_seen: int = 0
    refused_seen: int = 0
    unsent_seen: int = 0
    looked_at: datetime | None = None
    moved_at: datetime | None = None
    why: str = "nothing was submitted yet"

    def but(self, **changes: object) -> Flow:
        return self.model_copy(update=changes)

    def by(self, now: datetime) -> Flow:
        """Without the times of a clock that was set back since: they would be waited for until it has come as far."""
        noted = [one for one in (self.looked_at, self.stuck_since) if one is not None]
        if not noted or max(noted) <= now + CLOCK_STEP:
            return self
        return self.but(looked_at=None, closed_until=None, stuck_since=None, answered_at=self.answered_at and now)


@dataclass(frozen=True)
class Reading:
    """How things stand at one moment; counts of answers are of all time."""

    now: datetime
    held: int = 0  # jobs that hold a slot
    elsewhere: int = 0  # the same, at other doors, from before a number of slots was set for all of them
    on_the_way: int = 0  # of these: released, being uploaded, or not answered yet
    unsure: int = 0  # of these: whether the API has them, nobody knows
    working: int = 0  # of these: the API works on them
    waiting: int = 0  # of these: known to wait at the API
    taken: int = 0  # answers 1, 21 and 22
    refused: int = 0  # answers 23 and the like: no room
    unsent: int = 0  # the API was not reached
    cores: int | None = None  # what its account data say that it can work on at once

    @property
    def inside(self) -> int:
        """Jobs that hold a slot, but for those known to wait."""
        return self.held - self.waiting

    @property
    def unseen(self) -> int:
        """On the way, or at the API and neither seen to be worked on nor to wait."""
        return max(0, self.inside - self.unsure - self.working)

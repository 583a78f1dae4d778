"""Plan: what was asked for a campaign as a whole, and whose jobs go next among several campaigns. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from jobs.job import HOLDS_SLOT
from jobs.slots.pause import BUDGET, FAILURES

# A job's rank: its priority times this, and its age. Both fit exactly into the 53 bits of a zset's score.
RANKS_A_PRIORITY = 10**13
# Fewer say nothing about the others: the first job may fail by chance.
MIN_FINISHED = 10
# However small its weight, a campaign waits for no more turns of another that holds as few slots.
MAX_STRIDE = 1000.0

# Of jobs that were purged: what they add to the counts that bounds go by, and no others.
PURGED_PAID, PURGED_FAILED, PURGED_FINISHED = "purged:paid", "purged:failed", "purged:finished"

Counts = Mapping[str, int]


class Plan(BaseModel):
    """What was asked for a campaign as a whole.

    When a bound is reached the campaign pauses, and a person decides.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    weight: Annotated[float, Field(gt=0, le=1000, description="its share of the slots, beside other campaigns'")] = 1.0
    max_submissions: Annotated[int | None, Field(ge=1, description="so many may be paid for")] = None
    stop_after_failures: Annotated[
        float | None, Field(gt=0, le=1, description="pause when this share of the finished jobs failed")
    ] = None
    forgiven_failures: Annotated[int, Field(ge=0, description="those before the last resumption")] = 0
    forgiven_finished: Annotated[int, Field(ge=0, description="the same, with the successes")] = 0

    def left(self, counts: Counts) -> int | None:
        """How many jobs may be released within the budget; None without one."""
        if self.max_submissions is None:
            return None
        return max(0, self.max_submissions - _spent(counts) - counts.get("released", 0) - counts.get("submitting", 0))

    def reason_to_pause(self, counts: Counts) -> tuple[str, str] | None:
        """What stops the campaign, as a kind and a message for people.

        Args:
            counts: the tally of its jobs, with that of purged ones (`Turns.counts`).
        """
        if self.max_submissions is not None and (spent := _spent(counts)) >= self.max_submissions:
            return BUDGET, f"{spent} submissions are or may be paid for, of {self.max_submissions} allowed"
        # What is purged was forgiven first: else those that came since would be forgiven in its place.
        failed = _failed(counts) - max(0, self.forgiven_failures - counts.get(PURGED_FAILED, 0))
        finished = _finished(counts) - max(0, self.forgiven_finished - counts.get(PURGED_FINISHED, 0))
        share = self.stop_after_failures
        if share is not None and finished >= MIN_FINISHED and failed >= share * finished:
            return FAILURES, f"{failed} of {finished} finished jobs failed, which is {share:.0%} or more"
        return None

    def forgiving(self, counts: Counts) -> Plan:
        """The plan after a person looked at the failures and said: go on."""
        failed = _failed(counts) + counts.get(PURGED_FAILED, 0)
        finished = _finished(counts) + counts.get(PURGED_FINISHED, 0)
        return self.model_copy(update={"forgiven_failures": failed, "forgiven_finished": finished})


DEFAULT_PLAN = Plan()


def _spent(counts: Counts) -> int:
    """Submissions that are, or may be, paid for."""
    return counts.get("submissions", 0) + counts.get("uncertain", 0) + counts.get(PURGED_PAID, 0)


def purged(counts: Counts) -> dict[str, int]:
    """What stays of a job in the counts of its campaign when it is forgotten: bounds hold for all that ever was.

    Args:
        counts: the job's own tally.
    """
    kept = {PURGED_PAID: _spent(counts), PURGED_FAILED: _failed(counts), PURGED_FINISHED: _finished(counts)}
    return {name: count for name, count in kept.items() if count}


def _failed(counts: Counts) -> int:
    return counts.get("failed", 0) + counts.get("parked", 0)


def _finished(counts: Counts) -> int:
    return _failed(counts) + counts.get("succeeded", 0)


class Ready(NamedTuple):
    """A job that is ready to go; `pin` says where to (`slots.pins`)."""

    job_id: str
    rank: int
    pin: str = ""


@dataclass(frozen=True)
class Contender:
    """A campaign that has ready jobs.

    `ready` holds the next ones, in the order of their ranks; `turn` is when it last had one, in turns of weight 1 that
    campaigns had; None before its first.
    """

    name: str
    plan: Plan
    counts: Counts
    ready: Sequence[Ready] = field(repr=False)
    turn: float | None = None

    @property
    def held(self) -> int:
        """Slots that its jobs hold."""
        return sum(self.counts.get(status, 0) for status in HOLDS_SLOT)

    def next_turn(self, now: float, taken: int) -> float:
        """When it is its turn, once it has taken so many; not before `now`, so that nobody saves turns up."""
        stride = min(MAX_STRIDE, 1 / self.plan.weight)
        return (now if self.turn is None else max(now, self.turn + stride)) + taken * stride


class Turn(NamedTuple):
    """Whose turn it is: a job, its campaign, the door by which it goes, when the turn is, and the job's pin."""

    job_id: str
    campaign: Contender
    door: str
    at: float
    pin: str


def next_in_turn(contenders: Sequence[Contender], count: int, take: Callable[[str], str | None]) -> list[Turn]:
    """The jobs that go next: strictly by priority; within one, the campaign that holds the fewest slots for its
    weight; of several, by turns, since fewer slots than campaigns would be those of the oldest for ever; then the
    oldest first. A job whose doors have no room holds up none of the others.

    Args:
        contenders: the campaigns.
        count: how many jobs at most.
        take: takes a slot for a job of a pin, and says at which door; None when there is no room (`pins.Routing`).
    """
    now = max((one.turn for one in contenders if one.turn is not None), default=0.0)
    heap = [entry for number, one in enumerate(contenders) if (entry := _entry(one, now, number, 0, 0))]
    heapq.heapify(heap)
    chosen: list[Turn] = []
    while heap and len(chosen) < count:
        _, _, turn, _, number, place, taken = heap[0]
        one = contenders[number]
        if (door := take(one.ready[place].pin)) is not None:
            chosen.append(Turn(one.ready[place].job_id, one, door, turn, one.ready[place].pin))
            taken += 1
        if entry := _entry(one, now, number, place + 1, taken):
            heapq.heapreplace(heap, entry)
        else:
            heapq.heappop(heap)
    return chosen


def _entry(
    one: Contender, now: float, number: int, place: int, taken: int
) -> tuple[int, float, float, int, int, int, int] | None:
    """How soon it is the turn of its job in this place, when it has taken so many; None when it may take no more."""
    left = one.plan.left(one.counts)
    if place >= len(one.ready) or (left is not None and taken >= left):
        return None
    priority, age = divmod(one.ready[place].rank, RANKS_A_PRIORITY)
    share = (one.held + taken) / one.plan.weight
    return priority, share, one.next_turn(now, taken), age, number, place, taken

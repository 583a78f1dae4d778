"""Schedules: where they are kept, when each comes next, and who has a run in hand.

A run is taken by one script, which puts the next one down in the same step; so any number of schedulers may run, and
none is needed in particular. Whoever dies with a run in hand loses it after a while to another, who does it again:
its jobs have ids of their content and of the run's time, so that nothing is enqueued twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import redis
from pydantic import ValidationError

from jobs.errors import ScheduleNotFound, ScheduleUnreadable
from jobs.keys import Keys
from jobs.plain_words import in_plain_words
from jobs.schedule import Outcome, Ran, Schedule
from jobs.server import from_ms, lua, server_time, to_bytes, to_ms, to_text, unavailable

KEPT_RUNS = 50
# Longer than enqueueing one batch takes; whoever works on it says so with each.
IN_HAND_SECONDS = 30.0


@dataclass(frozen=True)
class Run:
    """One run that is to be done. `held_until` is when whoever had it in hand before was to see to it again."""

    schedule: str
    at: datetime
    held_until: datetime | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return f"{to_ms(self.at)} {self.schedule}"

    @classmethod
    def parse(cls, name: str, held_until: datetime | None = None) -> Run:
        ms, _, schedule = name.partition(" ")
        return cls(schedule, from_ms(int(ms)), held_until)


class Schedules:
    """
    Args:
        client: from `server.connect`.
        keys: the same as the store's.

    Every method raises StoreUnavailable when Redis does not answer in time.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys
        self._take_script = client.register_script(lua("take_run"))

    def now(self) -> datetime:
        """The server's clock, the only one that counts."""
        return server_time(self._redis)

    def put(self, schedule: Schedule) -> None:
        """Keep it, in the place of an earlier one of its name. Its next run is counted from now."""
        coming = to_ms(schedule.next_after(self.now()))
        with unavailable():
            pipeline = self._redis.pipeline()
            pipeline.hset(self._keys.schedules, schedule.name, schedule.model_dump_json(exclude_defaults=True))
            if schedule.paused:
                pipeline.zrem(self._keys.schedules_next, schedule.name)
            else:
                pipeline.zadd(self._keys.schedules_next, {schedule.name: coming})
            pipeline.execute()

    def pause(self, name: str, paused: bool) -> Schedule:
        """Let no further run begin; or let them go on, from now: none is made up for.

        Raises:
            ScheduleNotFound: there is none of this name.
        """
        changed = self.get(name).model_copy(update={"paused": paused})
        self.put(changed)
        return changed

    def ask(self, name: str) -> Run:
        """Ask for a run at once, beside those of the clock; a scheduler does it, minding its overlap.

        Raises:
            ScheduleNotFound: there is none of this name.
        """
        self.get(name)
        run = Run(name, from_ms(to_ms(self.now())))
        with unavailable():
            self._redis.zadd(self._keys.schedules_in_hand, {run.name: to_ms(run.at)}, nx=True)
        return run

    def get(self, name: str) -> Schedule:
        """
        Raises:
            ScheduleNotFound: there is none of this name.
            ScheduleUnreadable: there is, and it cannot be read here.
        """
        with unavailable():
            doc: Any = self._redis.hget(self._keys.schedules, name)
        if doc is None:
            raise _not_found(name)
        return _read(doc)

    def all(self) -> list[Schedule]:
        """Every schedule, by name.

        Raises:
            ScheduleUnreadable: one of them cannot be read here.
        """
        with unavailable():
            docs: Any = self._redis.hvals(self._keys.schedules)
        return sorted(map(_read, docs), key=lambda one: one.name)

    def remove(self, name: str) -> None:
        """Forget it. The jobs of its runs stay.

        Raises:
            ScheduleNotFound: there is none of this name.
        """
        with unavailable():
            pipeline = self._redis.pipeline()
            pipeline.hdel(self._keys.schedules, name)
            pipeline.zrem(self._keys.schedules_next, name)
            pipeline.delete(self._keys.schedule_runs(name))
            removed, *_ = pipeline.execute()
        if not removed:
            raise _not_found(name)

    def runs(self, name: str) -> list[Ran]:
        """What became of its last runs, the oldest first."""
        with unavailable():
            lines: Any = self._redis.lrange(self._keys.schedule_runs(name), 0, -1)
        return sorted(map(Ran.model_validate_json, lines), key=lambda ran: ran.at)

    # Doing them ------------------------------------------------------------------------------------------------

    def take(self) -> Run | None:
        """A run that is due, or that whoever had it in hand left undone; ours for a while. None: nothing to do.

        Raises:
            ScheduleNotFound: it was removed in this very moment.
            ScheduleUnreadable: the schedule that is due cannot be read here; the others have their turn meanwhile.
        """
        now = to_ms(self.now())
        until = now + int(IN_HAND_SECONDS * 1000)
        with unavailable():
            undone: Any = self._redis.zrangebyscore(self._keys.schedules_in_hand, "-inf", now, 0, 1, withscores=True)
            due: Any = self._redis.zrangebyscore(self._keys.schedules_next, "-inf", now, 0, 1, withscores=True)
        # The earliest of both: what waits is looked at again and again, and would leave what is due no turn.
        if due and not (undone and undone[0][1] < due[0][1]):
            ((name, score),) = due
            return self._take_due(to_text(name), int(score), until)
        if undone:
            ((name, score),) = undone
            taken = self._take_script(
                keys=[self._keys.schedules_in_hand, self._keys.schedules_in_hand],
                args=[to_text(name), int(score), until, to_text(name), until],
            )
            return Run.parse(to_text(name), from_ms(score)) if taken else None
        return None

    def _take_due(self, name: str, ms: int, until: int) -> Run | None:
        run = Run(name, from_ms(ms))
        try:
            coming = to_ms(self.get(name).next_after(run.at))
        except ScheduleUnreadable:
            with unavailable():
                self._redis.zadd(self._keys.schedules_next, {name: until}, xx=True)
            raise
        with unavailable():
            taken = self._take_script(
                keys=[self._keys.schedules_next, self._keys.schedules_in_hand], args=[name, ms, coming, run.name, until]
            )
        return run if taken else None

    def waits_before(self, run: Run) -> bool:
        """Whether an earlier run of the same schedule is not over."""
        with unavailable():
            names: Any = self._redis.zrange(self._keys.schedules_in_hand, 0, -1)
        others = (Run.parse(to_text(name)) for name in names)
        return any(other.schedule == run.schedule and other.at < run.at for other in others)

    def hold(self, run: Run, seconds: float = IN_HAND_SECONDS) -> None:
        """It stays in hand, or is looked at again, until so long from now."""
        until = to_ms(self.now() + timedelta(seconds=seconds))
        with unavailable():
            self._redis.zadd(self._keys.schedules_in_hand, {run.name: until}, xx=True)

    def done(self, run: Run, ran: Ran) -> None:
        """It is over, whatever came of it."""
        key = self._keys.schedule_runs(run.schedule)
        with unavailable():
            lines: Any = self._redis.lrange(key, 0, -1)
            pipeline = self._redis.pipeline()
            pipeline.zrem(self._keys.schedules_in_hand, run.name)
            pipeline.rpush(key, ran.model_dump_json(exclude_defaults=True), *_still_needed(lines))
            pipeline.ltrim(key, -KEPT_RUNS, -1)
            pipeline.execute()


def _not_found(name: str) -> ScheduleNotFound:
    return ScheduleNotFound(f"there is no schedule {name!r}; `blendq schedule list` shows what there is")


def _read(doc: Any) -> Schedule:
    try:
        return Schedule.model_validate_json(to_bytes(doc))
    except ValidationError as error:
        raise ScheduleUnreadable(json.loads(to_bytes(doc))["name"], in_plain_words(error)) from error


def _still_needed(lines: Sequence[bytes]) -> Sequence[bytes]:
    """The last run that enqueued anything, where it is about to leave the list: the next run asks whether that is over,
    however many were left out meanwhile.
    """
    if len(lines) < KEPT_RUNS:
        return []
    runs = [(Ran.model_validate_json(line), line) for line in lines]
    enqueued = [(ran.at, line) for ran, line in runs if ran.outcome is Outcome.ENQUEUED]
    # Not by its place: one that was put at the end for this reason is older than what stands before it.
    return [line for _, line in sorted(enqueued)[-1:] if line == lines[0]]

"""Turns: the plans and pauses of campaigns, and which of them have jobs that are ready to go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis

from jobs.keys import Keys
from jobs.questions import Question, ask
from jobs.server import lua, server_time, to_bytes, to_ms, to_text, unavailable
from jobs.slots.pause import Pause
from jobs.slots.pins import Queue
from jobs.slots.plan import DEFAULT_PLAN, Contender, Counts, Plan, Ready
from jobs.telling.notices import Notice


class Turns:
    """
    Args:
        client: from `server.connect`.
        keys: the same as the store's.

    Every method raises StoreUnavailable when Redis does not answer in time.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys
        self._retire_script = client.register_script(lua("retire"))
        self._pause_script = client.register_script(lua("pause"))

    def queues(self) -> list[Queue]:
        """Those that have ready jobs, or had some a moment ago."""
        return ask(self._redis, self.in_turn())

    def in_turn(self) -> Question[list[Queue]]:
        """What `queues` asks."""
        return Question(
            lambda pipeline: pipeline.smembers(self._keys.contenders),
            lambda answers: [Queue.parse(text) for text in sorted(to_text(member) for member in answers[0])],
        )

    def contenders(self, most: Mapping[Queue, int]) -> list[Contender]:
        """The campaigns that have ready jobs and are not paused.

        Args:
            most: how many jobs at most of each queue.
        """
        wanted = [queue for queue, count in most.items() if count > 0]
        names = list(dict.fromkeys(queue.campaign for queue in wanted))
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for queue in wanted:
                pipeline.zrange(self._keys.ready(*queue), 0, most[queue] - 1, withscores=True)
            for name in names:
                pipeline.hgetall(self._keys.campaign_counts(name))
                pipeline.mget(
                    self._keys.campaign_plan(name), self._keys.campaign_pause(name), self._keys.campaign_turn(name)
                )
            answers: list[Any] = pipeline.execute() if wanted else []
        ready: dict[str, list[Ready]] = {name: [] for name in names}
        for queue, jobs in zip(wanted, answers, strict=False):
            if not jobs:
                self._retire(queue)
            ready[queue.campaign] += [Ready(to_text(job_id), int(rank), queue.pin) for job_id, rank in jobs]
        told = answers[len(wanted) :]
        return [
            Contender(name, _plan(plan), _tally(counts), sorted(ready[name], key=_by_rank), turn and float(turn))
            for name, counts, (plan, pause, turn) in zip(names, told[::2], told[1::2], strict=True)
            if ready[name] and pause is None
        ]

    def had(self, turns: Mapping[str, float]) -> None:
        """These campaigns had a turn, each at this time (`Turn.at`). A hint, that no job depends on."""
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for name, at in turns.items():
                pipeline.set(self._keys.campaign_turn(name), at)
            pipeline.execute()

    def counts(self, campaign: str) -> Counts:
        """What the bounds of a plan go by: the tally of the campaign's jobs, and what is left of purged ones."""
        with unavailable():
            return _tally(self._redis.hgetall(self._keys.campaign_counts(campaign)))

    def plan(self, campaign: str) -> Plan:
        """What was asked for the campaign; the defaults where nothing was."""
        with unavailable():
            return _plan(self._redis.get(self._keys.campaign_plan(campaign)))

    def keep_plan(self, campaign: str, plan: Plan) -> None:
        """From now on this is asked for the campaign."""
        with unavailable():
            self._redis.set(self._keys.campaign_plan(campaign), plan.model_dump_json(exclude_defaults=True))

    def pause(self, campaign: str, kind: str, message: str) -> bool:
        """Submit nothing more of the campaign until `resume`; what is under way goes on.

        Args:
            campaign: its name.
            kind: "person", "budget" or "failures".
            message: why, for people.

        Returns:
            whether this is news; False when it was paused already.
        """
        pause = Pause(kind, message, server_time(self._redis))
        notice = Notice.of_pause(campaign, pause)
        keys = [self._keys.campaign_pause(campaign), self._keys.webhooks, self._keys.notices, self._keys.outbox]
        with unavailable():
            args: list[Any] = [pause.to_json(), notice.id, notice.to_doc(), to_ms(notice.at)]
            return bool(self._pause_script(keys=keys, args=args))

    def paused(self, campaign: str) -> Pause | None:
        with unavailable():
            doc = self._redis.get(self._keys.campaign_pause(campaign))
        return None if doc is None else Pause.from_json(to_bytes(doc))

    def resume(self, campaign: str) -> bool:
        """Submit the campaign's jobs again; returns whether it was paused."""
        with unavailable():
            return bool(self._redis.delete(self._keys.campaign_pause(campaign)))

    def _retire(self, queue: Queue) -> None:
        with unavailable():
            self._retire_script(keys=[self._keys.contenders, self._keys.ready(*queue)], args=[str(queue)])


def _tally(counts: Mapping[Any, Any]) -> dict[str, int]:
    return {to_text(what): int(count) for what, count in counts.items()}


def _by_rank(job: Ready) -> int:
    return job.rank


def _plan(doc: Any) -> Plan:
    return DEFAULT_PLAN if doc is None else Plan.model_validate_json(doc)

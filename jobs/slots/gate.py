"""Gate: which jobs go next, and how many at once.

The slots that are held, the jobs that become due, the wake-up for dispatch, and the pause in which nothing goes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import redis

from jobs.errands import CONTROL
from jobs.job import Job
from jobs.keys import Keys
from jobs.server import lua, server_time, to_bytes, to_ms, to_text, unavailable
from jobs.slots.pause import Pause
from jobs.slots.plan import RANKS_A_PRIORITY


def rank(job: Job) -> int:
    """The score of a ready job: the lowest goes first. Strict by priority, the oldest first within one.

    A follow-up is as old as its parent: it goes while the API still knows that one's task.
    """
    return (9 - job.request.priority) * RANKS_A_PRIORITY + (job.follows.order if job.follows else job.order)


class Gate:
    """What dispatch goes by. The jobs themselves are changed by the store alone.

    Args:
        client: from `server.connect`.
        keys: the same as the store's.
        find_many: reads jobs by their ids; the store's.

    Every method raises StoreUnavailable when Redis does not answer in time.
    """

    def __init__(self, client: redis.Redis, keys: Keys, find_many: Callable[[Sequence[str]], list[Job | None]]) -> None:
        self._redis = client
        self._find_many = find_many
        self._keys = keys
        self._ripen_script = client.register_script(lua("ripen"))

    def slots_held(self) -> int:
        with unavailable():
            held: Any = self._redis.scard(self._keys.slots)
        return int(held)

    def messages(self, queues: Sequence[str]) -> int:
        """How many wake-ups wait in these queues of the broker (its lists, by their full names)."""
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for queue in queues:
                pipeline.llen(queue)
            return int(sum(pipeline.execute()))

    def ripen(self, page: int = 500) -> int:
        """Put the waiting jobs that have become due among the ready ones; returns how many."""
        moved = 0
        while True:
            now = to_ms(server_time(self._redis))
            with unavailable():
                found: Any = self._redis.zrangebyscore(self._keys.later, "-inf", now, 0, page)
            ids = [to_text(one) for one in found]
            by_campaign: dict[str, list[str | int]] = defaultdict(list)
            for job in self._find_many(ids):
                if job is not None:
                    by_campaign[job.campaign] += [job.id, rank(job)]
            moved += sum(self._ripen(campaign, ranks) for campaign, ranks in by_campaign.items())
            if len(ids) < page:
                return moved

    def _ripen(self, campaign: str, ranks: list[str | int]) -> int:
        keys = [self._keys.later, self._keys.ready(campaign), self._keys.contenders]
        with unavailable():
            moved: Any = self._ripen_script(keys=keys, args=[campaign, *ranks])
        return int(moved)

    def ask_dispatch(self, hold_seconds: float = 1.0) -> bool:
        """Whether a wake-up for dispatch should be sent now; False when one is on its way already."""
        with unavailable():
            return bool(self._redis.set(self._keys.dispatch_asked, 1, nx=True, px=int(hold_seconds * 1000)))

    def dispatch_begins(self) -> None:
        """From here on a slot that becomes free needs a new wake-up."""
        with unavailable():
            self._redis.delete(self._keys.dispatch_asked, self._keys.errands(CONTROL))

    def pause(self, kind: str, message: str, seconds: float) -> bool:
        """Stop submitting for a while: only a person can help, and every try would be refused alike.

        Returns:
            whether this is news, to be told once: False when submitting is paused already.
        """
        doc = Pause(kind, message, server_time(self._redis)).to_json()
        with unavailable():
            self._redis.set(self._keys.suspect, kind)
            news = bool(self._redis.set(self._keys.pause, doc, px=int(seconds * 1000), nx=True))
            if not news:
                self._redis.pexpire(self._keys.pause, int(seconds * 1000), gt=True)
        return news

    def paused(self) -> Pause | None:
        with unavailable():
            doc = self._redis.get(self._keys.pause)
        return None if doc is None else Pause.from_json(to_bytes(doc))

    def resume(self) -> None:
        """Submit again at once, and without suspicion."""
        with unavailable():
            self._redis.delete(self._keys.pause, self._keys.suspect, self._keys.no_accounts)

    def suspect(self) -> bool:
        """Whether a pause has ended and nothing was accepted since: then one job goes ahead, to try."""
        with unavailable():
            return bool(self._redis.exists(self._keys.suspect))

    def trust(self) -> None:
        """Something was accepted: whatever caused the last pause is mended."""
        with unavailable():
            self._redis.delete(self._keys.suspect, self._keys.no_accounts)

    def count_no_account(self) -> int:
        """The API had no account for a job; returns how often in a row, with nothing accepted between."""
        with unavailable():
            count: Any = self._redis.incr(self._keys.no_accounts)
        return int(count)

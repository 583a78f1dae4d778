"""Outbox: hands notices out to lanes, one for each endpoint, and keeps what is due in each.

A lane has its own due times, so that an endpoint that is slow or away holds up nobody else's notices. What was taken
comes due again by itself after a while: whoever took it may have died.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import redis

from jobs.keys import Keys
from jobs.net.addresses import AddressRefused, parse_target
from jobs.server import from_ms, lua, server_time, to_ms, to_text, to_time, unavailable
from jobs.telling.notices import Notice
from jobs.telling.webhooks import DELIVERIES_KEPT, OWN, Delivery, Webhook

# Handed out in one go.
BATCH = 500
# For a replay; longer than anything is tried.
KEPT = timedelta(days=3)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tries:
    """How often a notice was sent in vain, and since when it is tried."""

    count: int
    since: datetime


@dataclass(frozen=True)
class Due:
    """A notice that is to be sent now, at this time of the server's; `tries` None: for the first time."""

    lane: str
    notice: Notice
    now: datetime
    tries: Tries | None

    @property
    def webhook_id(self) -> str | None:
        """The endpoint; None for a hook that a job brought along."""
        return None if self.lane.startswith(f"{OWN}:") else self.lane


class Outbox:
    """
    Args:
        client: from `server.connect`.
        keys: the same as the store's.

    Every method raises StoreUnavailable when Redis does not answer in time.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys
        self._hand_out_script = client.register_script(lua("hand_out"))
        self._take_due_script = client.register_script(lua("take_due"))
        self._retire_script = client.register_script(lua("retire"))

    def hand_out(self, webhooks: Callable[[], Sequence[Webhook]]) -> int:
        """Put the oldest notices of the outbox into the lanes of those who want them; returns how many.

        Args:
            webhooks: gives all endpoints; not asked while the outbox is empty.
        """
        with unavailable():
            waiting: Any = self._redis.zrange(self._keys.outbox, 0, BATCH - 1)
            ids = [to_text(one) for one in waiting]
            docs: Any = self._redis.hmget(self._keys.notices, ids) if ids else []
        if not ids:
            return 0
        known, now = webhooks(), to_ms(server_time(self._redis))
        pipeline = self._redis.pipeline(transaction=False)
        for notice_id, doc in zip(ids, docs, strict=True):
            notice = None if doc is None else _read(notice_id, doc)
            lanes = [] if notice is None else _lanes(notice, known)
            # One that is disabled may be enabled again, and then ask for what it missed; so may who can read it.
            missed = doc is not None if notice is None else any(one.is_for(notice) for one in known)
            keep = missed or bool(lanes)
            keys = [self._keys.outbox, self._keys.told, self._keys.notices, self._keys.lanes]
            keys += map(self._keys.lane, lanes)
            self._hand_out_script(keys=keys, args=[notice_id, now, int(keep), *lanes], client=pipeline)
        with unavailable():
            pipeline.execute()
        return len(ids)

    def prune(self) -> None:
        """Forget notices that were handed out long ago; not those that waited so long for a worker."""
        end = to_ms(server_time(self._redis) - KEPT)
        with unavailable():
            ids: Any = self._redis.zrange(self._keys.told, "-inf", end, byscore=True, offset=0, num=BATCH)
            if ids:
                pipeline = self._redis.pipeline()
                pipeline.hdel(self._keys.notices, *ids)
                pipeline.zrem(self._keys.told, *ids)
                pipeline.execute()

    def lanes(self) -> list[str]:
        """Those in which something waits, due or not."""
        with unavailable():
            return [to_text(one) for one in self._redis.smembers(self._keys.lanes)]

    def take(self, lane: str, hold_seconds: float) -> Due | None:
        """Take the notice that is due the longest; nobody else gets it for `hold_seconds`. None when none is due."""
        while notice_id := self._taken(lane, hold_seconds):
            with unavailable():
                pipeline = self._redis.pipeline()
                pipeline.hget(self._keys.notices, notice_id)
                pipeline.hget(self._keys.lane_tries(lane), notice_id)
                pipeline.time()
                doc, tries, time = pipeline.execute()
            if doc is None:
                self.drop(lane, notice_id)  # kept for so long and never delivered
            elif notice := _read(notice_id, doc):
                return Due(lane, notice, to_time(*time), None if tries is None else _tries(tries))
        return None

    def _taken(self, lane: str, hold_seconds: float) -> str | None:
        """The id of the one that is due the longest. A lane in which nothing is left is none any more."""
        with unavailable():
            ids: Any = self._take_due_script(keys=[self._keys.lane(lane)], args=[1, int(hold_seconds * 1000)])
            if ids:
                return to_text(ids[0])
            self._retire_script(keys=[self._keys.lanes, self._keys.lane(lane)], args=[lane])
        return None

    def drop(self, lane: str, notice_id: str) -> None:
        """It is not to be sent there any more."""
        with unavailable():
            pipeline = self._redis.pipeline()
            self._drop(pipeline, lane, notice_id)
            pipeline.execute()

    def done(self, due: Due, delivery: Delivery) -> None:
        """It was sent, or is given up."""
        with unavailable():
            pipeline = self._redis.pipeline()
            self._drop(pipeline, due.lane, due.notice.id)
            self._log(pipeline, due, delivery)
            pipeline.execute()

    def again(self, due: Due, delivery: Delivery, next_at: datetime) -> None:
        """It was not taken, and is tried again then."""
        tries = {"count": due.tries.count + 1 if due.tries else 1}
        tries["since"] = to_ms(due.tries.since if due.tries else due.now)
        with unavailable():
            pipeline = self._redis.pipeline()
            # xx: an endpoint may have been removed meanwhile.
            pipeline.zadd(self._keys.lane(due.lane), {due.notice.id: to_ms(next_at)}, xx=True)
            pipeline.hset(self._keys.lane_tries(due.lane), due.notice.id, json.dumps(tries))
            self._log(pipeline, due, replace(delivery, next_at=next_at))
            pipeline.execute()

    def _drop(self, pipeline: Any, lane: str, notice_id: str) -> None:
        pipeline.zrem(self._keys.lane(lane), notice_id)
        pipeline.hdel(self._keys.lane_tries(lane), notice_id)

    def _log(self, pipeline: Any, due: Due, delivery: Delivery) -> None:
        key = self._keys.webhook_log(due.webhook_id or OWN)
        pipeline.lpush(key, delivery.to_line())
        pipeline.ltrim(key, 0, DELIVERIES_KEPT - 1)


def _read(notice_id: str, doc: bytes) -> Notice | None:
    """One that cannot be read, by a defect or since a newer version wrote it, is told of in the log, and holds up none
    of the others.
    """
    try:
        return Notice.from_doc(notice_id, doc)
    except (ValueError, LookupError, TypeError) as error:
        _log.error("notice=%s cannot be read (%s); once it can: blendq webhook replay", notice_id, type(error).__name__)
        return None


def _lanes(notice: Notice, webhooks: Sequence[Webhook]) -> list[str]:
    """Where it has to go. Jobs' own hooks share a lane for each host: one that is away must not hold up others."""
    lanes = [one.id for one in webhooks if one.wants(notice)]
    return lanes if notice.hook is None else [*lanes, f"{OWN}:{_host(notice.hook)}"]


def _host(url: str) -> str:
    try:
        return parse_target(url).authority
    except AddressRefused:
        return ""  # it will be said when it is sent


def _tries(doc: bytes) -> Tries:
    fields = json.loads(doc)
    return Tries(fields["count"], from_ms(fields["since"]))

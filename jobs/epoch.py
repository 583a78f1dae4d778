"""Epoch: notices that Redis came back without its records.

The first process to use a Redis gives it an epoch, and keeps it in the data folder too. A Redis that was flushed, or
swapped for an empty one, has another or none: then the records of what was paid for are gone, and whatever is enqueued
again would be paid for again. So submitting stops until a person says what is right; and nothing is enqueued there,
since it would be gone when the right data comes back.
"""

from __future__ import annotations

import uuid
from pathlib import Path

import redis

from jobs.errors import EpochLost
from jobs.files import create_once
from jobs.keys import Keys
from jobs.questions import Question, ask
from jobs.server import to_text, unavailable

_FILE = "epoch"


class Epoch:
    """The epoch of one data folder and one Redis.

    Args:
        client: from `server.connect`.
        keys: the same as the store's.
        data_dir: where it is remembered.
    """

    def __init__(self, client: redis.Redis, keys: Keys, data_dir: Path) -> None:
        self._redis = client
        self._keys = keys
        self._data_dir = data_dir
        self._known: str | None = None

    def verify(self) -> str:
        """
        Returns:
            the epoch.

        Raises:
            EpochLost: Redis is not the one that this data folder knows, or has lost its data.
            StoreUnavailable: Redis does not answer.
        """
        return self.judge(ask(self._redis, self.question()))

    def question(self) -> Question[str | None]:
        """What Redis has, for `judge`."""
        return Question(
            lambda pipeline: pipeline.get(self._keys.epoch),
            lambda answers: None if answers[0] is None else to_text(answers[0]),
        )

    def judge(self, found: str | None) -> str:
        """As `verify`, of what was just found in Redis."""
        if found is None or found != self._known:
            # Another process may have begun, or accepted the loss.
            self._known = self._remembered() or self._known
        if self._known is None:
            self._known = self._begin(found)
        elif found != self._known:
            what = "has lost its records" if found is None else "is not the one that this data folder belongs to"
            raise EpochLost(
                f"Redis {what}: jobs that were paid for may be unknown now, so nothing is enqueued or submitted. "
                "Restore its data, or point BLENDQ_REDIS_URL to the right one; or, if they may be paid again: "
                "blendq resume --accept-loss"
            )
        return self._known

    def accept(self) -> None:
        """A person says: what this Redis holds now is what counts."""
        with unavailable():
            self._redis.delete(self._keys.epoch)
        (self._data_dir / _FILE).unlink(missing_ok=True)
        self._known = None
        self.verify()

    def _remembered(self) -> str | None:
        try:
            return (self._data_dir / _FILE).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def _begin(self, found: str | None) -> str:
        """Nothing is remembered here: take over what Redis has, or begin."""
        with unavailable():
            self._redis.set(self._keys.epoch, found or uuid.uuid4().hex, nx=True)
            epoch = to_text(self._redis.get(self._keys.epoch))
        return create_once(self._data_dir / _FILE, epoch)

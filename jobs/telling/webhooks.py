"""Webhooks: the endpoints that the producer has registered, and what was delivered to each."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import redis
from pydantic import BaseModel, ConfigDict, Field

from jobs.errors import StoreUnavailable, UsageError, WebhookNotFound
from jobs.keys import Keys
from jobs.net.addresses import AddressRefused, parse_target
from jobs.net.signature import new_secret
from jobs.request import MAX_HOOK_CHARACTERS
from jobs.server import lua, repeatable, server_time, to_ms, to_text, unavailable
from jobs.telling.notices import Kind, Notice

# Under this name stand the deliveries to the hooks that jobs bring along.
OWN = "own"
DELIVERIES_KEPT = 50
# A new secret signs beside the one before it, until the next rotation.
SECRETS_KEPT = 2
# Every lost race means that somebody else changed the endpoint; so many in a row mean that something is wrong.
MAX_RACES = 50


class Webhook(BaseModel):
    """One endpoint. `campaign` None: of all campaigns; `events` empty: all of them. The newest secret comes first."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    id: str
    url: Annotated[str, Field(repr=False)]  # it may carry a token
    campaign: str | None = None
    events: tuple[Kind, ...] = ()
    secrets: Annotated[tuple[str, ...], Field(repr=False)]
    created_at: datetime
    disabled: Annotated[str | None, Field(description="why nothing is sent there any more")] = None

    def wants(self, notice: Notice) -> bool:
        """Whether it is to be told now."""
        return self.disabled is None and self.is_for(notice)

    def is_for(self, notice: Notice) -> bool:
        """Whether it was made for such, disabled or not; a test is sent to it directly."""
        if notice.kind is Kind.TEST:
            return False
        return self.campaign in (None, notice.campaign) and (not self.events or notice.kind in self.events)


@dataclass(frozen=True)
class Delivery:
    """One try. `status` is the HTTP status, None where there was no answer; `next_at` is when it is tried again."""

    notice: str
    at: datetime
    seconds: float
    status: int | None
    problem: str | None = None
    next_at: datetime | None = None

    def to_line(self) -> str:
        times = {"at": self.at.isoformat(), "next_at": self.next_at.isoformat() if self.next_at else None}
        return json.dumps(vars(self) | times)

    @classmethod
    def from_line(cls, line: str | bytes) -> Delivery:
        fields = json.loads(line)
        next_at = fields["next_at"] and datetime.fromisoformat(fields["next_at"])
        return cls(**fields | {"at": datetime.fromisoformat(fields["at"]), "next_at": next_at})


class Webhooks:
    """
    Args:
        client: from `server.connect`.
        keys: the same as the store's.

    Every method raises StoreUnavailable when Redis does not answer in time.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys
        self._swap_script = client.register_script(lua("swap"))

    def add(self, url: str, campaign: str | None = None, events: Collection[Kind] = ()) -> Webhook:
        """Register an endpoint. What has happened before is not told.

        Args:
            url: http or https. Where it leads is checked when something is sent.
            campaign: only what becomes of this one; None for all.
            events: only these; none for all.

        Returns:
            The endpoint, with its secret.

        Raises:
            UsageError: it is no web address.
        """
        try:
            parse_target(url)
        except AddressRefused as error:
            raise UsageError(f"webhook: {error}; give an address as https://shop.example/blends") from error
        if len(url) > MAX_HOOK_CHARACTERS:
            raise UsageError(f"webhook: the address is over the limit of {MAX_HOOK_CHARACTERS} characters")
        now = server_time(self._redis)
        made = Webhook(
            id=f"wh_{secrets.token_hex(6)}",
            url=url,
            campaign=campaign,
            events=tuple(sorted(set(events))),
            secrets=(new_secret(),),
            created_at=now,
        )
        with unavailable():
            self._redis.hset(self._keys.webhooks, made.id, made.model_dump_json())
        return made

    def all(self) -> list[Webhook]:
        """Every endpoint, the oldest first."""
        with unavailable():
            docs: Any = self._redis.hvals(self._keys.webhooks)
        return sorted(map(Webhook.model_validate_json, docs), key=lambda one: one.created_at)

    def get(self, webhook_id: str) -> Webhook:
        """
        Raises:
            WebhookNotFound: there is no such endpoint.
        """
        return Webhook.model_validate_json(self._doc(webhook_id))

    def remove(self, webhook_id: str) -> None:
        """Send nothing more there, and forget what waits.

        Raises:
            WebhookNotFound: there is no such endpoint.
        """
        self.get(webhook_id)
        with unavailable():
            pipeline = self._redis.pipeline()
            pipeline.hdel(self._keys.webhooks, webhook_id)
            pipeline.delete(self._keys.webhook_log(webhook_id))
            self._drop_lane(pipeline, webhook_id)
            pipeline.execute()

    def rotate(self, webhook_id: str) -> Webhook:
        """Sign with a new secret, beside the last one; the one before that is forgotten.

        Raises:
            WebhookNotFound: there is no such endpoint.
        """
        fresh = new_secret()
        return self._change(webhook_id, lambda one: {"secrets": (fresh, *one.secrets)[:SECRETS_KEPT]})

    def disable(self, webhook_id: str, why: str) -> None:
        """Send nothing more there, and forget what waits; the endpoint stays on the list.

        Raises:
            WebhookNotFound: there is no such endpoint.
        """
        self._change(webhook_id, lambda _: {"disabled": why})
        with unavailable():
            pipeline = self._redis.pipeline()
            self._drop_lane(pipeline, webhook_id)
            pipeline.execute()

    def enable(self, webhook_id: str) -> Webhook:
        """Send there again, from now on; what happened meanwhile may be replayed. Its secrets stay.

        Raises:
            WebhookNotFound: there is no such endpoint.
        """
        return self._change(webhook_id, lambda _: {"disabled": None})

    def deliveries(self, webhook_id: str) -> list[Delivery]:
        """The last deliveries to an endpoint, or to `OWN`: the hooks that jobs bring along. The newest first."""
        with unavailable():
            lines: Any = self._redis.lrange(self._keys.webhook_log(webhook_id), 0, -1)
        return [Delivery.from_line(line) for line in lines]

    # Ordering deliveries ---------------------------------------------------------------------------------------

    def test(self, webhook_id: str) -> str:
        """Send a `webhook.test` to one endpoint. Returns its webhook-id.

        Raises:
            WebhookNotFound: there is no such endpoint.
            UsageError: nothing is sent to it any more.
        """
        if (found := self.get(webhook_id)).disabled:
            again = f"blendq webhook enable {webhook_id}"
            raise UsageError(f"webhook {webhook_id} is disabled: {found.disabled}; to use it again: {again}")
        now = server_time(self._redis)
        notice = Notice(f"msg_{secrets.token_hex(16)}", Kind.TEST, now, {"object": "webhook", "id": webhook_id})
        with unavailable():
            pipeline = self._redis.pipeline()
            pipeline.hset(self._keys.notices, notice.id, notice.to_doc())
            pipeline.zadd(self._keys.told, {notice.id: to_ms(now)})
            pipeline.zadd(self._keys.lane(webhook_id), {notice.id: to_ms(now)})
            pipeline.sadd(self._keys.lanes, webhook_id)
            pipeline.execute()
        return notice.id

    def replay(self, notice_id: str) -> None:
        """Send a notice again, under the same id, to all endpoints that want such.

        Raises:
            UsageError: it is not known any more.
        """
        with unavailable():
            if not self._redis.hexists(self._keys.notices, notice_id):
                raise UsageError(f"there is no event {notice_id}; those of the last days are kept")
        self._hand_out_again([notice_id])

    def replay_since(self, moment: datetime) -> int:
        """Send all notices since then again, as `replay` does. Returns how many."""
        with unavailable():
            ids: Any = self._redis.zrange(self._keys.told, to_ms(moment), "+inf", byscore=True)
        self._hand_out_again([to_text(one) for one in ids])
        return len(ids)

    def _hand_out_again(self, notice_ids: Sequence[str]) -> None:
        now = to_ms(server_time(self._redis))
        if notice_ids:
            with unavailable():
                self._redis.zadd(self._keys.outbox, dict.fromkeys(notice_ids, now))

    def _doc(self, webhook_id: str) -> str:
        with unavailable():
            doc: Any = self._redis.hget(self._keys.webhooks, webhook_id)
        if doc is None:
            raise WebhookNotFound(f"there is no webhook {webhook_id}; `blendq webhook list` shows what there is")
        return to_text(doc)

    def _change(self, webhook_id: str, change: Callable[[Webhook], Mapping[str, object]]) -> Webhook:
        """Change some fields of an endpoint, as it is at that moment: two that change it at once both get their way."""
        for _ in range(MAX_RACES):
            before = self._doc(webhook_id)
            found = Webhook.model_validate_json(before)
            after = found.model_copy(update=dict(change(found)))
            args = [webhook_id, before, after.model_dump_json()]
            if repeatable(partial(self._swap_script, keys=[self._keys.webhooks], args=args)):
                return after
        raise StoreUnavailable(f"webhook {webhook_id}: {MAX_RACES} others in a row were faster; try again")

    def _drop_lane(self, pipeline: Any, webhook_id: str) -> None:
        pipeline.delete(self._keys.lane(webhook_id), self._keys.lane_tries(webhook_id))
        pipeline.srem(self._keys.lanes, webhook_id)

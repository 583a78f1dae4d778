"""Notify: tells the producer's own webhooks what became of jobs, as Standard Webhooks has it.

Threads of its own, so that no submission waits for an endpoint; and few of them for each lane, so that an endpoint that
is slow or away holds up no other. Told at least once (I6): whoever dies between an answer and its record leaves the
notice to be sent again, under the same id.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from time import monotonic
from typing import Self

import httpx

from jobs.errors import StoreUnavailable, WebhookNotFound
from jobs.net.addresses import AddressRefused, AddressRules, parse_target
from jobs.net.http1 import Answer as HttpAnswer
from jobs.net.outbound import Outbound, Pace, TooSlow
from jobs.net.signature import signed_headers
from jobs.policy import full_jitter
from jobs.settings import Settings
from jobs.store import JobStore
from jobs.telling.outbox import Due, Tries
from jobs.telling.webhooks import Delivery
from worker.proxy.reply import RawAnswer, retry_after_seconds
from worker.webhook_secrets import own_secrets

THREADS = 32
LANE_THREADS = 4
# A lane in which the last delivery failed is tried by one.
FAILING_LANE_THREADS = 1
DELIVERY_SECONDS = 15.0
# So long a lane keeps a thread while there is none for others; then it takes its turn among them.
TURN_SECONDS = 15.0
# Longer than a delivery takes: so soon a notice is sent again when whoever took it has died.
HOLD_SECONDS = 60.0
BACKOFF_BASE_SECONDS = 5.0
BACKOFF_CAP_SECONDS = 7200.0
TRIED_FOR = timedelta(days=1)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What an endpoint said: an HTTP status, or what went wrong before there was one."""

    status: int | None
    problem: str | None = None
    retry_after_seconds: float = 0.0

    @property
    def taken(self) -> bool:
        return self.status is not None and self.status // 100 == 2


def next_try(tries: Tries | None, now: datetime, chance: float, retry_after_seconds: float) -> datetime | None:
    """When a notice that was not taken is sent again; None when it is given up.

    Args:
        tries: those in vain before this one; None: it was the first.
        now: by the store's clock.
        chance: a random number in [0, 1).
        retry_after_seconds: what the endpoint asked for.
    """
    delay = full_jitter(tries.count if tries else 0, BACKOFF_BASE_SECONDS, BACKOFF_CAP_SECONDS, chance)
    at = now + timedelta(seconds=max(delay, retry_after_seconds))
    return None if at > (tries.since if tries else now) + TRIED_FOR else at


class Notifier:
    """
    Args:
        store: where the notices are.
        outbound: how they are sent.
        own_secrets: sign what is sent to the hooks that jobs bring along, the newest first.
        leaving: set when the process is told to end.
        hold_seconds: so long nobody else sends what was taken here.
    """

    def __init__(
        self,
        store: JobStore,
        outbound: Outbound,
        own_secrets: tuple[str, ...],
        leaving: threading.Event,
        hold_seconds: float = HOLD_SECONDS,
    ) -> None:
        self._store = store
        self._outbound = outbound
        self._own_secrets = own_secrets
        self._leaving = leaving
        self._hold_seconds = hold_seconds
        self._chance = random.SystemRandom()
        self._threads = ThreadPoolExecutor(THREADS, "notify")
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()
        self._failing: set[str] = set()

    @classmethod
    def from_settings(cls, settings: Settings, store: JobStore, leaving: threading.Event) -> Self:
        rules = AddressRules.of(settings.allowed_networks)
        outbound = Outbound(rules, settings.connect_timeout_seconds)
        return cls(store, outbound, own_secrets(settings), leaving, HOLD_SECONDS)

    def close(self) -> None:
        """Wait for the deliveries that are on the wire."""
        self._threads.shutdown(cancel_futures=True)

    def look(self) -> None:
        """Start sending what is due, and return at once."""
        outbox = self._store.outbox
        outbox.hand_out(self._store.webhooks.all)
        outbox.prune()
        lanes = outbox.lanes()
        self._chance.shuffle(lanes)
        for lane in lanes:
            self._start(lane)

    def _start(self, lane: str) -> None:
        while not self._leaving.is_set() and self._enter(lane):
            if (due := self._take(lane)) is None:
                return
            self._threads.submit(self._work, due)

    def _enter(self, lane: str) -> bool:
        """Whether there is a thread for the lane; it is then taken."""
        with self._lock:
            most = FAILING_LANE_THREADS if lane in self._failing else LANE_THREADS
            free = self._busy[lane] < most and self._busy.total() < THREADS
            if free:
                self._busy[lane] += 1
            return free

    def _leave(self, lane: str) -> None:
        with self._lock:
            self._busy[lane] -= 1
            if not self._busy[lane]:
                del self._busy[lane]

    def _take(self, lane: str) -> Due | None:
        """What is due in the lane. Where nothing is, the thread is free again."""
        due = None
        try:
            due = self._store.outbox.take(lane, self._hold_seconds)
        finally:
            if due is None:
                self._leave(lane)
        return due

    def _work(self, first: Due) -> None:
        """Send what is due in one lane, until nothing is, the endpoint takes nothing, or others wait for a thread."""
        lane, due = first.lane, first
        turn_ends = monotonic() + TURN_SECONDS
        try:
            while self._deliver(due) and self._may_go_on(turn_ends):
                if (found := self._store.outbox.take(lane, self._hold_seconds)) is None:
                    break
                due = found
        except StoreUnavailable as error:
            _log.warning("webhook=%s notice=%s is sent again: %s", lane, due.notice.id, error)
        except Exception:  # noqa: BLE001  (one notice; it comes due again, and others are not to wait for it)
            _log.exception("webhook=%s notice=%s", lane, due.notice.id)
        finally:
            self._leave(lane)

    def _may_go_on(self, turn_ends: float) -> bool:
        if self._leaving.is_set():
            return False
        with self._lock:
            return self._busy.total() < THREADS or monotonic() < turn_ends

    def _deliver(self, due: Due) -> bool:
        """Send one notice and record what came of it; returns whether the next may follow at once."""
        try:
            url, secrets = self._endpoint(due)
        except WebhookNotFound:
            self._store.outbox.drop(due.lane, due.notice.id)
            return True
        began = monotonic()
        answer = self._send(url, secrets, due)
        seconds = round(monotonic() - began, 3)
        self._record(due, answer, seconds)
        with self._lock:
            (self._failing.discard if answer.taken else self._failing.add)(due.lane)
        return answer.taken

    def _endpoint(self, due: Due) -> tuple[str, tuple[str, ...]]:
        """Where to, and signed by what.

        Raises:
            WebhookNotFound: nothing is sent there any more.
        """
        if due.webhook_id is None:
            return due.notice.hook or "", self._own_secrets
        webhook = self._store.webhooks.get(due.webhook_id)
        if webhook.disabled:
            raise WebhookNotFound(f"webhook {webhook.id} is disabled")
        return webhook.url, webhook.secrets

    def _send(self, url: str, secrets: tuple[str, ...], due: Due) -> Answer:
        body = due.notice.body()
        headers = [*signed_headers(secrets, due.notice.id, due.now, body), ("Content-Type", "application/json")]
        pace = Pace("the answer", DELIVERY_SECONDS, lambda: None)
        try:
            with self._outbound.post(parse_target(url), headers, body, pace) as answer:
                return _answer(answer)
        except (AddressRefused, TooSlow) as error:
            return Answer(None, str(error))
        except httpx.TransportError as error:
            return Answer(None, type(error).__name__)

    def _record(self, due: Due, answer: Answer, seconds: float) -> None:
        outbox = self._store.outbox
        delivery = Delivery(due.notice.id, due.now, seconds, answer.status, answer.problem)
        if answer.taken:
            outbox.done(due, delivery)
            return
        if answer.status == HTTPStatus.GONE:
            outbox.done(due, delivery)
            self._stop(due)
            return
        next_at = next_try(due.tries, due.now, self._chance.random(), answer.retry_after_seconds)
        what = f"HTTP {answer.status}" if answer.problem is None else answer.problem
        if next_at is None:
            outbox.done(due, delivery)
            _log.error("webhook=%s notice=%s given up after a day: %s", due.lane, due.notice.id, what)
        else:
            outbox.again(due, delivery, next_at)
            _log.warning("webhook=%s notice=%s not taken: %s", due.lane, due.notice.id, what)

    def _stop(self, due: Due) -> None:
        """The endpoint wants no more. That of a job is told of that job alone."""
        if due.webhook_id is None:
            return
        with suppress(WebhookNotFound):  # a person may have removed it meanwhile
            self._store.webhooks.disable(due.webhook_id, "it answered 410, which asks for no more")
            _log.error("webhook=%s answered 410: nothing more is sent there", due.lane)


def _answer(answer: HttpAnswer) -> Answer:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
    wait = retry_after_seconds(RawAnswer(answer.status, headers, b"", received_at=datetime.now(UTC)))
    return Answer(answer.status, None, wait or 0.0)

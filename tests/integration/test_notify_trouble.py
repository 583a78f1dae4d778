"""Outgoing webhooks when something goes wrong: at the endpoint, on the way, or with who tells it (I6)."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import redis

from jobs import events
from jobs.errors import UsageError
from jobs.net import outbound
from jobs.net.addresses import AddressRules
from jobs.store import JobStore
from jobs.telling.notices import Kind
from jobs.telling.webhooks import Webhook
from tests.integration.endpoint import Endpoint, open_endpoint
from tests.integration.notifying import Sender, add, cancel, idle, send_until, statuses
from tests.integration.workbench import wait_for
from worker import notify
from worker.notify import LANE_THREADS


def test_an_endpoint_in_trouble_is_told_later_under_the_same_id(
    store: JobStore, client: redis.Redis, sender: Sender, endpoint: Endpoint
) -> None:
    webhook = store.webhooks.add(endpoint.url, events=[Kind.JOB_CANCELLED])
    endpoint.will_answer(500, 503, 404)
    add(store)
    cancel(store, "job_1")
    sending = sender()
    send_until(sending, lambda: len(endpoint.received) == 4)
    send_until(sending, idle(store, client))
    assert len(set(endpoint.ids)) == 1
    assert len({one.body for one in endpoint.received}) == 1
    assert statuses(store, webhook) == [500, 503, 404, 200]
    assert not client.exists(store.keys.lane_tries(webhook.id)), "nothing is left of the tries"


def test_what_becomes_of_the_job_meanwhile_changes_nothing(store: JobStore, sender: Sender, endpoint: Endpoint) -> None:
    store.webhooks.add(endpoint.url, events=[Kind.JOB_CANCELLED])
    endpoint.will_answer(500)
    add(store)
    cancel(store, "job_1")
    sending = sender()
    send_until(sending, lambda: len(endpoint.received) == 1)
    store.apply("job_1", events.Retry())
    send_until(sending, lambda: len(endpoint.received) == 2)
    assert [one.json["data"]["status"] for one in endpoint.received] == ["cancelled", "cancelled"]
    cancel(store, "job_1")
    send_until(sending, lambda: len(endpoint.received) == 3)
    assert len(set(endpoint.ids)) == 2, "that it was cancelled again is another event"


def test_an_endpoint_may_ask_for_time(store: JobStore, sender: Sender, endpoint: Endpoint) -> None:
    webhook = store.webhooks.add(endpoint.url)
    endpoint.will_answer(429, retry_after="600")
    add(store, campaign="other")
    cancel(store, "job_1")
    send_until(sender(), lambda: 429 in statuses(store, webhook))
    (asked,) = (one for one in store.webhooks.deliveries(webhook.id) if one.status == 429)
    assert asked.next_at is not None
    assert asked.next_at - asked.at >= timedelta(seconds=600)


def test_gone_means_no_more(
    store: JobStore, client: redis.Redis, sender: Sender, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    webhook = store.webhooks.add(endpoint.url, events=[Kind.JOB_CANCELLED])
    endpoint.will_answer(410)
    add(store)
    cancel(store, "job_1")
    sending = sender()
    send_until(sending, lambda: store.webhooks.get(webhook.id).disabled is not None)
    add(store, "job_2")
    cancel(store, "job_2")
    send_until(sending, idle(store, client))
    assert len(endpoint.received) == 1
    assert statuses(store, webhook) == [410]
    with pytest.raises(UsageError, match="410"):
        store.webhooks.test(webhook.id)
    assert webhook.id in caplog.text
    assert store.webhooks.enable(webhook.id) == webhook
    add(store, "job_3")
    cancel(store, "job_3")
    send_until(sending, lambda: len(endpoint.received) == 2)
    assert endpoint.received[1].json["data"]["id"] == "job_3"


def test_what_a_disabled_endpoint_misses_can_be_sent_to_it_later(
    store: JobStore, client: redis.Redis, sender: Sender, endpoint: Endpoint
) -> None:
    webhook = store.webhooks.add(endpoint.url, events=[Kind.JOB_CANCELLED])
    store.webhooks.disable(webhook.id, "it answered 410")
    since = store.now()
    add(store)
    cancel(store, "job_1")
    sending = sender()
    send_until(sending, idle(store, client))
    store.webhooks.enable(webhook.id)
    assert store.webhooks.replay_since(since) == 1, "what nobody has ever asked for is not kept"
    send_until(sending, lambda: len(endpoint.received) == 1)


def test_a_redirect_is_not_followed(store: JobStore, sender: Sender, endpoint: Endpoint) -> None:
    with open_endpoint() as elsewhere:
        webhook = store.webhooks.add(endpoint.url, events=[Kind.JOB_CANCELLED])
        endpoint.will_answer(302, 307, location=elsewhere.url)
        add(store)
        cancel(store, "job_1")
        send_until(sender(), lambda: statuses(store, webhook) == [302, 307, 200])
        assert elsewhere.received == []


def test_a_private_address_is_refused(store: JobStore, sender: Sender, endpoint: Endpoint) -> None:
    webhook = store.webhooks.add(endpoint.url, events=[Kind.JOB_CANCELLED])
    add(store)
    cancel(store, "job_1")
    send_until(sender(AddressRules()), lambda: bool(store.webhooks.deliveries(webhook.id)))
    refused = store.webhooks.deliveries(webhook.id)[0]
    assert refused.status is None
    assert "BLENDQ_ALLOWED_NETWORKS" in str(refused.problem)
    assert endpoint.received == []


def test_a_slow_endpoint_holds_up_no_other(
    store: JobStore, sender: Sender, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "READ_TIMEOUT_SECONDS", 60.0)
    monkeypatch.setattr(notify, "DELIVERY_SECONDS", 60.0)
    with open_endpoint() as slow:
        slow.slow = threading.Event()
        store.webhooks.add(slow.url, events=[Kind.JOB_CANCELLED])
        store.webhooks.add(endpoint.url, events=[Kind.JOB_CANCELLED])
        for number in range(50):
            add(store, f"job_{number}")
            cancel(store, f"job_{number}")
        send_until(sender(), lambda: len(set(endpoint.ids)) == 50, lambda: len(endpoint.received))
        wait_for(lambda: len(slow.received) >= LANE_THREADS, lambda: "not sent to the slow one")
        assert len(slow.received) == LANE_THREADS
        slow.slow.set()


def test_endpoints_that_take_their_time_leave_a_thread_to_others(
    store: JobStore, sender: Sender, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "THREADS", LANE_THREADS)
    monkeypatch.setattr(notify, "TURN_SECONDS", 0.0)
    with open_endpoint() as slow:
        slow.slow = threading.Event()
        store.webhooks.add(slow.url, events=[Kind.JOB_CANCELLED])
        for number in range(100):
            add(store, f"job_{number}")
            cancel(store, f"job_{number}")
        sending = sender()
        send_until(sending, lambda: len(slow.received) == LANE_THREADS)
        add(store, "job_last", hook=endpoint.url)
        cancel(store, "job_last")
        slow.slow.set()
        send_until(sending, lambda: len(endpoint.received) == 1)
        assert len(slow.received) < 100, "it did not have to wait for the others' last"


def test_who_dies_between_the_answer_and_its_record_leaves_it_to_another(
    store: JobStore, sender: Sender, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = store.webhooks.add(endpoint.url, events=[Kind.JOB_CANCELLED])
    add(store)
    cancel(store, "job_1")
    dying, other = sender(hold_seconds=0.5), sender()
    died = threading.Event()

    def dies(*_: object) -> None:
        died.set()
        raise SystemExit

    monkeypatch.setattr(dying, "_record", dies)
    dying.look()
    assert died.wait(30)
    send_until(other, lambda: statuses(store, webhook) == [200])
    assert len(endpoint.ids) == 2
    assert len(set(endpoint.ids)) == 1


def test_two_workers_that_hand_out_at_once_hand_out_once(
    store: JobStore, client: redis.Redis, endpoint: Endpoint
) -> None:
    webhook = store.webhooks.add(endpoint.url, events=[Kind.JOB_CANCELLED])
    add(store)
    cancel(store, "job_1")

    def meanwhile() -> list[Webhook]:
        """The other hands it out, and it is sent, after this one has read the outbox."""
        assert store.outbox.hand_out(store.webhooks.all) == 2  # the job, and its campaign
        due = store.outbox.take(webhook.id, 60)
        assert due is not None
        store.outbox.drop(webhook.id, due.notice.id)
        return [webhook]

    store.outbox.hand_out(meanwhile)
    assert client.zcard(store.keys.lane(webhook.id)) == 0


def test_what_nobody_takes_is_given_up_after_a_day(
    store: JobStore,
    client: redis.Redis,
    sender: Sender,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    webhook = store.webhooks.add(endpoint.url, events=[Kind.JOB_CANCELLED])
    endpoint.will_answer(*[500] * 100)
    add(store)
    cancel(store, "job_1")
    sending = sender()
    send_until(sending, lambda: len(endpoint.received) >= 2)
    monkeypatch.setattr(notify, "TRIED_FOR", timedelta(0))  # a day later
    send_until(sending, idle(store, client))
    assert "given up" in caplog.text
    assert store.webhooks.deliveries(webhook.id)[0].next_at is None
    endpoint.answers.clear()
    monkeypatch.setattr(notify, "TRIED_FOR", timedelta(days=1))
    store.webhooks.replay(endpoint.ids[0])
    send_until(sending, lambda: statuses(store, webhook)[-1] == 200)
    assert len(set(endpoint.ids)) == 1, "a replay has the same id"


def test_an_event_that_cannot_be_read_holds_up_none_of_the_others(
    store: JobStore, client: redis.Redis, sender: Sender, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    """A newer version wrote them, say: one that is not handed out yet, and one that is."""
    webhook = store.webhooks.add(endpoint.url)
    for notice_id, place in (("msg_1", store.keys.outbox), ("msg_2", store.keys.lane(webhook.id))):
        client.hset(store.keys.notices, notice_id, '{"type":"a secret"}')
        client.zadd(place, {notice_id: 0})
    client.sadd(store.keys.lanes, webhook.id)
    add(store)
    cancel(store, "job_1")
    send_until(sender(), lambda: len(endpoint.received) == 2)
    for notice_id in ("msg_1", "msg_2"):
        assert f"notice={notice_id} cannot be read" in caplog.text
    assert "a secret" not in caplog.text
    assert client.zscore(store.keys.told, "msg_1"), "it may be replayed"
    assert client.zscore(store.keys.lane(webhook.id), "msg_2"), "somebody else may read it"

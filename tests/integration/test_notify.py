"""Outgoing webhooks: what is told, to whom, and what is kept of it; a real store, a real endpoint (I6)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from jobs import events
from jobs.attempt import TaskStatus
from jobs.errors import UsageError
from jobs.net.signature import new_secret
from jobs.report import rfc3339
from jobs.server import to_ms, to_text
from jobs.store import JobStore
from jobs.telling.notices import Kind, Notice
from jobs.telling.outbox import KEPT
from jobs.telling.webhooks import OWN
from tests.integration.endpoint import Endpoint, open_endpoint
from tests.integration.notifying import OWN_SECRET, Sender, add, cancel, idle, send_until, statuses
from tests.integration.workbench import wait_for
from tests.unit.lifecycle_world import PICTURE
from worker import notify


def test_the_end_of_a_job_is_told_and_proven(store: JobStore, sender: Sender, endpoint: Endpoint) -> None:
    webhook = store.webhooks.add(endpoint.url)
    add(store)
    for event in (events.Release(), events.Claim("w1"), events.Commit(1)):
        store.apply("job_1", event)
    store.apply("job_1", events.Answer(1, events.AnswerKind.ACCEPTED, "t1", None, 1))
    store.apply("job_1", events.TaskSeen(1, "t1", TaskStatus.SUCCESS, 100, "https://cdn.test/1?key=sesame"))
    store.apply("job_1", events.Collected(1, PICTURE))
    send_until(sender(), lambda: len(endpoint.received) == 2, lambda: endpoint.types)
    job, campaign = sorted(endpoint.received, key=lambda one: one.json["type"], reverse=True)
    for one in (job, campaign):
        assert Verifier(webhook.secrets[0]).verify(one.body, dict(one.headers)) == one.json
        with pytest.raises(WebhookVerificationError):
            Verifier(new_secret()).verify(one.body, dict(one.headers))
    assert (job.path, job.headers["content-type"]) == ("/told?token=sesame", "application/json")
    assert job.json["type"] == "job.succeeded"
    data = job.json["data"]
    assert (data["id"], data["status"], data["custom_id"]) == ("job_1", "succeeded", "mine-job_1")
    assert data["picture"]["digest"] == PICTURE.digest
    assert "sesame" not in str(data), "no secret of a link (I8)"
    assert campaign.json["type"] == "campaign.finished"
    counts = store.counts("default")
    assert campaign.json["data"] == {"object": "campaign", "name": "default", "counts": counts}
    assert counts["succeeded"] == 1


def test_only_what_was_asked_for_is_told(store: JobStore, client: redis.Redis, sender: Sender) -> None:
    with open_endpoint() as all_of_it, open_endpoint() as one_campaign, open_endpoint() as pauses:
        store.webhooks.add(all_of_it.url)
        store.webhooks.add(one_campaign.url, "summer", [Kind.JOB_CANCELLED, Kind.CAMPAIGN_FINISHED])
        store.webhooks.add(pauses.url, events=[Kind.CAMPAIGN_PAUSED])
        add(store, "job_1", campaign="summer")
        add(store, "job_2", campaign="summer")
        add(store, "job_3", campaign="winter")
        cancel(store, "job_1", "job_2", "job_3")
        assert store.turns.pause("summer", "budget", "all is spent")
        assert not store.turns.pause("summer", "person", "again"), "told once"
        sending = sender()
        send_until(sending, lambda: len(all_of_it.received) == 6)
        send_until(sending, idle(store, client))
        assert sorted(all_of_it.types) == [
            *["campaign.finished"] * 2,
            "campaign.paused",
            *["job.cancelled"] * 3,
        ]
        assert sorted(one_campaign.types) == ["campaign.finished", "job.cancelled", "job.cancelled"]
        assert [one.json["data"]["reason"]["kind"] for one in pauses.received] == ["budget"]
        assert len(set(all_of_it.ids)) == 6
        assert set(one_campaign.ids) < set(all_of_it.ids), "one id, whoever is told"


def test_a_campaign_is_finished_when_its_last_job_is(store: JobStore, sender: Sender, endpoint: Endpoint) -> None:
    store.webhooks.add(endpoint.url, events=[Kind.CAMPAIGN_FINISHED])
    add(store, "job_1")
    add(store, "job_2")
    cancel(store, "job_1")
    sending = sender()
    cancel(store, "job_2")
    send_until(sending, lambda: len(endpoint.received) == 1)
    assert endpoint.received[0].json["data"]["counts"]["cancelled"] == 2
    store.apply("job_1", events.Retry())
    cancel(store, "job_1")
    send_until(sending, lambda: len(endpoint.received) == 2)
    assert len(set(endpoint.ids)) == 2, "finished again is another event"


def test_a_job_that_is_parked_after_all_is_told_again(
    store: JobStore, client: redis.Redis, sender: Sender, endpoint: Endpoint
) -> None:
    """Another job claims the picture of one that had succeeded (I5)."""
    store.webhooks.add(endpoint.url)
    done = events.TaskSeen(1, "t1", TaskStatus.SUCCESS, 100, "https://cdn.test/1")
    for job_id, seen in (("job_1", done), ("job_2", replace(done, task_id="t2"))):
        add(store, job_id)
        for event in (events.Release(), events.Claim("w1"), events.Commit(1), seen, events.Collected(1, PICTURE)):
            store.apply(job_id, event)
    sending = sender()
    send_until(sending, lambda: len(endpoint.received) == 5, lambda: endpoint.types)
    send_until(sending, idle(store, client))
    told = sorted((one.json["data"].get("id", ""), one.json["type"]) for one in endpoint.received)
    assert told == [
        *[("", "campaign.finished")] * 2,
        *[("job_1", "job.parked"), ("job_1", "job.succeeded"), ("job_2", "job.parked")],
    ]


def test_nothing_is_kept_when_nobody_asks(store: JobStore, client: redis.Redis) -> None:
    add(store)
    cancel(store, "job_1")
    store.turns.pause("default", "person", "why not")
    assert client.exists(store.keys.notices, store.keys.outbox) == 0


def test_whoever_begins_to_listen_is_told_of_the_very_next_end(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, sender: Sender, endpoint: Endpoint
) -> None:
    """As long as nobody listens nothing is made to be told; Redis knows better, and has it made."""
    jobs = ["job_1", "job_2", "job_3"]
    for job_id in jobs:
        add(store, job_id)
    script, answers = store.save_script, []

    def listen(**call: Any) -> Any:
        (answer,) = script(**call)
        answers.append((to_text(answer[0]), b"notice" in call["args"][-1]))
        return [answer]

    monkeypatch.setattr(store, "save_script", listen)
    cancel(store, "job_1")
    store.webhooks.add(endpoint.url)
    cancel(store, "job_2", "job_3")
    assert answers == [("saved", False), ("untold", False), ("saved", True), ("saved", True)]
    assert [len(store.history(job_id)) for job_id in jobs] == [2, 2, 2]
    send_until(sender(), lambda: len(endpoint.received) == 3, lambda: endpoint.types)
    assert {one.json["data"].get("id") for one in endpoint.received} == {"job_2", "job_3", None}


def test_a_job_brings_its_own_address_along(store: JobStore, sender: Sender, endpoint: Endpoint) -> None:
    add(store, "job_1", hook=endpoint.url)
    add(store, "job_2")
    cancel(store, "job_1", "job_2")
    send_until(sender(), lambda: len(endpoint.received) == 1)
    (told,) = endpoint.received
    assert Verifier(OWN_SECRET).verify(told.body, dict(told.headers))["data"]["id"] == "job_1"
    wait_for(lambda: statuses(store, OWN) == [200], lambda: str(statuses(store, OWN)))


def test_an_own_address_that_is_none_is_given_up_with_a_reason(
    store: JobStore, client: redis.Redis, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "TRIED_FOR", timedelta(seconds=-1))
    add(store, "job_1", hook="http://user@host/x")
    cancel(store, "job_1")
    send_until(sender(), lambda: bool(store.webhooks.deliveries(OWN)))
    assert "user name" in str(store.webhooks.deliveries(OWN)[0].problem)
    wait_for(lambda: client.zcard(store.keys.lane(f"{OWN}:")) == 0, lambda: "it waits")


def test_what_happened_since_a_time_is_sent_again(
    store: JobStore, client: redis.Redis, sender: Sender, endpoint: Endpoint
) -> None:
    store.webhooks.add(endpoint.url, events=[Kind.JOB_CANCELLED])
    for number in range(3):
        add(store, f"job_{number}")
        cancel(store, f"job_{number}")
    sending = sender()
    send_until(sending, lambda: len(endpoint.received) == 3)
    send_until(sending, idle(store, client))
    at = store.now()
    kept_since = client.zrange(store.keys.told, 0, -1, withscores=True)
    assert store.webhooks.replay_since(at + timedelta(seconds=1)) == 0
    assert store.webhooks.replay_since(at - timedelta(hours=1)) == 3
    send_until(sending, lambda: len(endpoint.received) == 6)
    assert len(set(endpoint.ids)) == 3
    assert client.zrange(store.keys.told, 0, -1, withscores=True) == kept_since, "and is kept no longer for it"
    with pytest.raises(UsageError, match="msg_none"):
        store.webhooks.replay("msg_none")


def test_what_no_worker_was_there_to_tell_is_told_however_late(
    store: JobStore, client: redis.Redis, sender: Sender, endpoint: Endpoint
) -> None:
    store.webhooks.add(endpoint.url, events=[Kind.JOB_CANCELLED])
    add(store)
    cancel(store, "job_1")
    docs: Any = client.hgetall(store.keys.notices)
    made = [Notice.from_doc(to_text(name), doc) for name, doc in docs.items()]
    long_ago = store.now() - KEPT - timedelta(hours=1)
    for one in made:
        client.hset(store.keys.notices, one.id, replace(one, at=long_ago).to_doc())
    sending = sender()
    send_until(sending, idle(store, client))
    sending.close()
    assert [one.json["timestamp"] for one in endpoint.received] == [rfc3339(long_ago)]


def test_what_was_forgotten_holds_up_nothing_that_is_kept(
    store: JobStore, client: redis.Redis, sender: Sender, endpoint: Endpoint
) -> None:
    webhook = store.webhooks.add(endpoint.url, events=[Kind.JOB_CANCELLED])
    client.zadd(store.keys.lane(webhook.id), {f"msg_{number}": number for number in range(10)})
    add(store)
    cancel(store, "job_1")
    sender().look()
    wait_for(lambda: len(endpoint.received) == 1, lambda: "it waits for the next look")


def test_events_of_long_ago_are_forgotten(store: JobStore, client: redis.Redis, sender: Sender) -> None:
    with open_endpoint() as endpoint:
        store.webhooks.add(endpoint.url, events=[Kind.JOB_CANCELLED])
        for number in range(2):
            add(store, f"job_{number}")
            cancel(store, f"job_{number}")
        sending = sender()
        send_until(sending, lambda: len(endpoint.received) == 2)
        send_until(sending, idle(store, client))
        old = endpoint.ids[0]
        client.zadd(store.keys.told, {old: to_ms(store.now() - KEPT) - 1})
        sending.look()
        assert not client.hexists(store.keys.notices, old)
        assert client.hexists(store.keys.notices, endpoint.ids[1])

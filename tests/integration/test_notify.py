"""Outgoing webhooks: a real store, a real endpoint, and whatever goes wrong between them (I6)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from jobs import events
from jobs.errors import UsageError, WebhookNotFound
from jobs.job import TaskStatus
from jobs.keys import Keys
from jobs.net import outbound
from jobs.net.addresses import AddressRules
from jobs.net.outbound import Outbound
from jobs.net.signature import new_secret
from jobs.policy import Policy
from jobs.server import connect, to_ms, to_text
from jobs.settings import Settings
from jobs.store import JobStore
from jobs.telling.notices import Kind
from jobs.telling.outbox import KEPT
from jobs.telling.webhooks import DELIVERIES_KEPT, OWN, Webhook
from tests.integration.endpoint import Endpoint, open_endpoint
from tests.integration.workbench import wait_for
from tests.unit.lifecycle_world import PICTURE, new_job
from worker import notify
from worker.notify import LANE_THREADS, Notifier, own_secrets

OWN_SECRET = new_secret()
HERE = AddressRules.of("127.0.0.0/8")


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    client = connect(redis_url)
    yield client
    client.close()


@pytest.fixture
def store(client: redis.Redis, keys: Keys) -> JobStore:
    return JobStore(client, Policy(), keys)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with open_endpoint() as made:
        yield made


Sender = Callable[..., Notifier]


@pytest.fixture
def sender(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sender]:
    """Makes notifiers that try again soon."""
    monkeypatch.setattr(notify, "BACKOFF_BASE_SECONDS", 0.05)
    made = []

    def make(rules: AddressRules = HERE, **options: Any) -> Notifier:
        made.append(Notifier(store, Outbound(rules, 2.0), (OWN_SECRET,), threading.Event(), **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def add(store: JobStore, job_id: str = "job_1", *, hook: str | None = None, **fields: Any) -> None:
    now = store.now()
    job = new_job(id=job_id, created_at=now, due_at=now, order=store.next_orders(1), **fields)
    request = job.request.model_copy(update={"notify_hook": hook, "custom_id": f"mine-{job_id}"})
    store.create([job.but(request=request)])


def cancel(store: JobStore, *job_ids: str) -> None:
    for job_id in job_ids:
        store.apply(job_id, events.Cancel())


def send_until(sender: Notifier, condition: Callable[[], bool], told: Callable[[], object] = lambda: "") -> None:
    def turn() -> bool:
        sender.look()
        return condition()

    wait_for(turn, lambda: f"not in time: {told()}")


def idle(store: JobStore, client: redis.Redis) -> Callable[[], bool]:
    """Whether nothing waits to be handed out or sent."""
    return lambda: client.zcard(store.keys.outbox) == 0 and store.outbox.lanes() == []


def statuses(store: JobStore, webhook: Webhook | str) -> list[int | None]:
    """Of the deliveries, the oldest first."""
    name = webhook if isinstance(webhook, str) else webhook.id
    return [one.status for one in reversed(store.webhooks.deliveries(name))]


# What is told --------------------------------------------------------------------------------------------------------


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
    script, answers = store._save_script, []

    def listen(**call: Any) -> Any:
        (answer,) = script(**call)
        answers.append((to_text(answer[0]), b"notice" in call["args"][-1]))
        return [answer]

    monkeypatch.setattr(store, "_save_script", listen)
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


# What goes wrong -----------------------------------------------------------------------------------------------------


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


def test_orders_to_one_endpoint_do_not_undo_each_other(
    store: JobStore, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = store.webhooks.add(endpoint.url)
    swap, meanwhile = store.webhooks._swap_script, [lambda: store.webhooks.disable(webhook.id, "410")]
    monkeypatch.setattr(
        store.webhooks, "_swap_script", lambda **call: (meanwhile and meanwhile.pop()(), swap(**call))[1]
    )
    rotated = store.webhooks.rotate(webhook.id)
    assert rotated.disabled == "410", "which came between the reading and the writing"
    assert store.webhooks.get(webhook.id) == rotated
    assert rotated.secrets[1:] == webhook.secrets
    meanwhile.append(lambda: store.webhooks.remove(webhook.id))
    with pytest.raises(WebhookNotFound):
        store.webhooks.enable(webhook.id)
    assert store.webhooks.all() == [], "what was removed stays so"


def test_a_secret_whose_reply_is_lost_is_made_once(
    store: JobStore, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = store.webhooks.add(endpoint.url)
    swap, losses = store.webhooks._swap_script, [redis.ConnectionError("cut")]

    def lose(**call: Any) -> Any:
        answer = swap(**call)
        if losses:
            raise losses.pop()
        return answer

    monkeypatch.setattr(store.webhooks, "_swap_script", lose)
    rotated = store.webhooks.rotate(webhook.id)
    assert store.webhooks.get(webhook.id) == rotated
    assert rotated.secrets[1:] == webhook.secrets, "the one that the receiver knows still signs"


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


def test_what_is_on_the_wire_when_its_endpoint_is_removed_is_not_tried_again(
    store: JobStore, client: redis.Redis, sender: Sender, endpoint: Endpoint
) -> None:
    endpoint.slow = threading.Event()
    endpoint.will_answer(500)
    webhook = store.webhooks.add(endpoint.url, events=[Kind.JOB_CANCELLED])
    add(store)
    cancel(store, "job_1")
    sending = sender()
    send_until(sending, lambda: len(endpoint.received) == 1)
    store.webhooks.remove(webhook.id)
    endpoint.slow.set()
    sending.close()
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


def test_no_secret_is_told(
    store: JobStore, sender: Sender, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    webhook = store.webhooks.add(endpoint.url, events=[Kind.JOB_CANCELLED])
    endpoint.will_answer(500, 410)
    add(store, hook=endpoint.url)
    cancel(store, "job_1")
    send_until(sender(), lambda: len(endpoint.received) >= 3)
    for text in (caplog.text, repr(webhook), repr(store.webhooks.deliveries(webhook.id))):
        assert "whsec_" not in text
        assert webhook.secrets[0].removeprefix("whsec_") not in text
        assert "sesame" not in text


# Looking after endpoints ---------------------------------------------------------------------------------------------


def test_while_a_secret_is_changed_both_sign(store: JobStore, sender: Sender, endpoint: Endpoint) -> None:
    first = store.webhooks.add(endpoint.url)
    second = store.webhooks.rotate(first.id)
    store.webhooks.test(first.id)
    sending = sender()
    send_until(sending, lambda: len(endpoint.received) == 1)
    third = store.webhooks.rotate(first.id)
    store.webhooks.test(first.id)
    send_until(sending, lambda: len(endpoint.received) == 2)
    before, after = endpoint.received
    assert before.json["type"] == "webhook.test"

    def verifies(secret: str, index: int) -> bool:
        try:
            Verifier(secret).verify(endpoint.received[index].body, dict(endpoint.received[index].headers))
        except WebhookVerificationError:
            return False
        return True

    made = (first.secrets[0], second.secrets[0], third.secrets[0])
    assert [verifies(secret, 0) for secret in made] == [True, True, False]
    assert [verifies(secret, 1) for secret in made] == [False, True, True]
    assert after.id != before.id


def test_an_endpoint_that_is_removed_hears_no_more(
    store: JobStore, client: redis.Redis, sender: Sender, endpoint: Endpoint
) -> None:
    webhook = store.webhooks.add(endpoint.url)
    add(store)
    cancel(store, "job_1")
    store.outbox.hand_out(store.webhooks.all)
    store.webhooks.remove(webhook.id)
    send_until(sender(), idle(store, client))
    assert endpoint.received == []
    assert store.webhooks.all() == []
    with pytest.raises(WebhookNotFound, match=webhook.id):
        store.webhooks.remove(webhook.id)


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
    assert store.webhooks.replay_since(at + timedelta(seconds=1)) == 0
    assert store.webhooks.replay_since(at - timedelta(hours=1)) == 3
    send_until(sending, lambda: len(endpoint.received) == 6)
    assert len(set(endpoint.ids)) == 3
    with pytest.raises(UsageError, match="msg_none"):
        store.webhooks.replay("msg_none")


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


def test_the_log_of_an_endpoint_is_bounded(store: JobStore, sender: Sender, endpoint: Endpoint) -> None:
    webhook = store.webhooks.add(endpoint.url, events=[Kind.JOB_CANCELLED])
    for number in range(DELIVERIES_KEPT + 5):
        add(store, f"job_{number}")
        cancel(store, f"job_{number}")
    send_until(sender(), lambda: len(endpoint.received) == DELIVERIES_KEPT + 5)
    wait_for(lambda: len(store.webhooks.deliveries(webhook.id)) == DELIVERIES_KEPT, lambda: "not so many")


def test_the_secret_of_own_addresses_is_made_and_kept(tmp_path: Path) -> None:
    made = own_secrets(Settings(data_dir=tmp_path))
    assert made == own_secrets(Settings(data_dir=tmp_path))
    assert (tmp_path / "webhook-secret").stat().st_mode & 0o777 == 0o600
    given = Settings.load(
        {"BLENDQ_WEBHOOK_SECRET": OWN_SECRET, "BLENDQ_WEBHOOK_SECRET_PREVIOUS": made[0]}, data_dir=tmp_path
    )
    assert own_secrets(given) == (OWN_SECRET, made[0])

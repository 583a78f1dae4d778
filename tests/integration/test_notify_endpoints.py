"""The endpoints of outgoing webhooks: their secrets, orders to them, and what they hear no more."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest
import redis
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from jobs.errors import SettingsError, WebhookNotFound
from jobs.settings import Settings
from jobs.store import JobStore
from jobs.telling.notices import Kind
from jobs.telling.webhooks import DELIVERIES_KEPT
from tests.integration.endpoint import Endpoint
from tests.integration.notifying import OWN_SECRET, Sender, add, cancel, idle, send_until
from tests.integration.workbench import wait_for
from worker.webhook_secrets import own_secrets


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


def test_a_kept_secret_that_is_none_is_told_at_once(tmp_path: Path) -> None:
    """By hand, or by half a backup; each delivery would fail with it, and never be given up."""
    (tmp_path / "webhook-secret").write_text(f"{OWN_SECRET}\n")
    with pytest.raises(SettingsError, match="webhook-secret must be whsec_ and base64") as refused:
        own_secrets(Settings(data_dir=tmp_path))
    assert OWN_SECRET[6:] not in str(refused.value)

"""What webhooks are told, how it is signed, and when it is tried again. Pure."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from standardwebhooks import Webhook as Verifier

from jobs.attempt import Attempt
from jobs.job import Job, Reason, Status
from jobs.net.signature import new_secret, secret_bytes, signed_headers
from jobs.request import BlendRequest
from jobs.telling.notices import MAX_BODY_BYTES, OF_A_STATUS, Kind, Notice
from jobs.telling.outbox import Tries
from jobs.telling.webhooks import Delivery, Webhook
from tests.unit.lifecycle_world import PICTURE, START, new_job
from worker.notify import BACKOFF_CAP_SECONDS, TRIED_FOR, next_try

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)


def ended(**fields: object) -> Job:
    return new_job(status=Status.SUCCEEDED, picture=PICTURE, finished_at=START, **fields)


# The body -----------------------------------------------------------------------------------------------------------


def test_every_end_of_a_job_is_told() -> None:
    assert set(OF_A_STATUS) == {status for status in Status if status.final}


def test_a_body_says_what_when_and_of_whom() -> None:
    notice = Notice.of_job(ended(order=7), 12, NOW)
    again = Notice.from_doc(notice.id, notice.to_doc())
    assert (notice.id, again.body()) == ("msg_job_1_7_12", notice.body())
    assert b'{"type":"job.succeeded","timestamp":"2030-01-31T12:00:00.000Z","data":{"object":"job",' in notice.body()
    assert b"cdn" not in notice.body(), "the link that a picture came from is the API's"


def test_another_end_has_another_name() -> None:
    names = {Notice.of_job(ended(order=order), version, NOW).id for order in (1, 2) for version in (3, 4)}
    names |= {Notice.of_finished_campaign(ended(order=1), version, NOW).id for version in (3, 4)}
    assert len(names) == 6


@pytest.mark.parametrize(
    ("metadata", "words", "left_out"),
    [
        ({"a": "b"}, "short", None),
        ({"a": "€" * 4000}, "€" * 3000, ["metadata"]),
        ({}, "€" * 9000, ["metadata", "upstream", "reason"]),
    ],
)
def test_a_body_stays_under_its_limit(metadata: dict[str, str], words: str, left_out: list[str] | None) -> None:
    request = BlendRequest(images=("a", "b"), metadata=metadata)
    job = new_job(status=Status.FAILED, request=request, reason=Reason(kind="invalid", message=words))
    notice = Notice.of_job(job, 1, NOW)
    assert len(notice.body()) < MAX_BODY_BYTES
    assert Notice.from_doc("x", notice.body()[:-1] + b',"campaign":null,"hook":null}').data.get("left_out") == left_out


def test_the_apis_links_are_told_without_their_keys() -> None:
    attempt = Attempt(number=1, claimed_at=START, image_url="https://u:p@cdn.test/1.png?token=sesame&w=2")
    body = Notice.of_job(ended(attempts=(attempt,), current=1), 1, NOW).body()
    assert b"https://cdn.test/1.png?token=***&w=2" in body


# Who is told --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, True),
        ({"campaign": "default"}, True),
        ({"campaign": "other"}, False),
        ({"events": ("job.succeeded", "job.failed")}, True),
        ({"events": ("job.failed",)}, False),
        ({"disabled": "it answered 410"}, False),
    ],
)
def test_an_endpoint_wants_what_it_was_made_for(fields: dict[str, object], wanted: bool) -> None:
    given = {"id": "wh_1", "url": "https://a.test", "secrets": (new_secret(),), "created_at": NOW} | fields
    webhook = Webhook.model_validate(given)
    assert webhook.wants(Notice.of_job(ended(), 1, NOW)) == wanted
    assert not webhook.wants(Notice("msg_1", Kind.TEST, NOW, {}))


def test_an_endpoint_that_cannot_be_read_is_not_shown() -> None:
    with pytest.raises(ValidationError) as refused:
        Webhook.model_validate({"id": "w", "url": "a", "secrets": ["whsec_sesame"]})
    assert "sesame" not in str(refused.value)


def test_a_delivery_is_kept_whole() -> None:
    for one in (Delivery("msg_1", NOW, 0.25, 200), Delivery("msg_1", NOW, 15.0, None, "ReadTimeout", NOW)):
        assert Delivery.from_line(one.to_line()) == one


# The signature ------------------------------------------------------------------------------------------------------


def test_a_signature_is_as_in_the_standards_own_example() -> None:
    """From the specification's reference tests (standard-webhooks/spec)."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    at = datetime.fromtimestamp(1614265330, UTC)
    assert signed_headers([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body) == [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ]


def test_each_secret_signs() -> None:
    made, now = [new_secret(), new_secret()], datetime.now(UTC)
    headers = dict(signed_headers(made, "msg_1", now, b"{}"))
    assert all(Verifier(secret).verify(b"{}", headers) == {} for secret in made)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "sesame", "whsec_c2VzYW1l", "whsec_not base64", "whsec_é" * 9, "whsec_" + "A" * 100]
)
def test_what_is_no_secret_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_ and") as refused:
        secret_bytes(secret)
    assert "sesame" not in str(refused.value)


def test_a_new_secret_is_one() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert secret_bytes(first) == base64.b64decode(first.removeprefix("whsec_"))


# The schedule -------------------------------------------------------------------------------------------------------


def test_tries_come_ever_later_for_a_day() -> None:
    at = NOW
    delays: list[float] = []
    while (after := next_try(Tries(len(delays), NOW) if delays else None, at, 0.999, 0)) is not None:
        delays.append((after - at).total_seconds())
        at = after
    assert delays[:4] == pytest.approx([5, 10, 20, 40], rel=0.01)
    assert max(delays) < BACKOFF_CAP_SECONDS
    assert timedelta(hours=20) < at - NOW <= TRIED_FOR
    assert 15 < len(delays) < 30


@given(count=st.integers(0, 10_000), chance=st.floats(0, 1, exclude_max=True), asked=st.floats(0, 3600))
def test_no_try_comes_sooner_than_asked_or_after_the_day(count: int, chance: float, asked: float) -> None:
    since = NOW - timedelta(hours=20)
    at = next_try(Tries(count, since), NOW, chance, asked)
    if at is not None:
        assert NOW + timedelta(seconds=asked) <= at <= since + TRIED_FOR

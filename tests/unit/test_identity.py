"""The id of a job: what it depends on, and that it never changes. Part of I1 and I2: enqueueing again is harmless."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.request import BlendRequest
from producer.identity import job_id

A, B = "sha256:" + "0a" * 32, "sha256:" + "0b" * 32
PLAIN = BlendRequest(images=(A, B))


def other(**fields: object) -> BlendRequest:
    return BlendRequest.parse({"images": [A, B], **fields})


def test_it_is_stable_for_ever() -> None:
    """Never change these: campaigns that are under way would pay for everything again."""
    full = other(
        dimensions="PORTRAIT",
        bot_type="NIJI_JOURNEY",
        instance_id="7",
        modes=["FAST", "RELAX"],
        remix=True,
        remix_auto_considered=False,
    )
    assert job_id(PLAIN, "default") == "job_ftfm25tn5kd6e7ozggqqosyd"
    assert job_id(full, "summer", take=2) == "job_ddjwau2vfw6uk5ksfr4iy3aq"
    assert job_id(PLAIN, "default", "order-17") == "job_6aaomdenbpqqo74ye4wpsksx"


def test_its_form() -> None:
    assert re.fullmatch(r"job_[a-z2-7]{24}", job_id(PLAIN, "default"))


@pytest.mark.parametrize(
    "fields",
    [
        {"images": [B, A]},
        {"images": [A, B, B]},
        {"bot_type": "NIJI_JOURNEY"},
        {"dimensions": "PORTRAIT"},
        {"instance_id": "1"},
        {"instance_id": ""},
        {"upstream": "spare"},
        {"modes": ["FAST"]},
        {"remix": False},
        {"remix": True},
        {"remix_auto_considered": False},
    ],
    ids=str,
)
def test_what_the_api_is_asked_for_is_part_of_it(fields: dict[str, object]) -> None:
    assert job_id(other(**fields), "default") != job_id(PLAIN, "default")


@pytest.mark.parametrize(
    "fields",
    [
        {"state": "x"},
        {"custom_id": "x"},
        {"priority": 9},
        {"metadata": {"a": 1}},
        {"notify_hook": "https://example.com/h"},
    ],
    ids=str,
)
def test_what_is_only_a_label_is_not(fields: dict[str, object]) -> None:
    assert job_id(other(**fields), "default") == job_id(PLAIN, "default")


def test_the_order_of_modes_means_nothing() -> None:
    assert job_id(other(modes=["FAST", "RELAX"]), "c") == job_id(other(modes=["RELAX", "FAST", "FAST"]), "c")


def test_every_option_of_a_request_is_decided_upon() -> None:
    """A new field must be put into the id, or named here as a label."""
    labels = {"state", "custom_id", "priority", "metadata", "notify_hook", "then"}
    content = {"images", "bot_type", "dimensions", "instance_id", "modes", "upstream", "remix", "remix_auto_considered"}
    assert set(BlendRequest.model_fields) == labels | content


def test_another_campaign_or_take_is_another_job() -> None:
    ids = {job_id(PLAIN, "a"), job_id(PLAIN, "b"), job_id(PLAIN, "a", take=2), job_id(PLAIN, "a", take=3)}
    assert len(ids) == 4


def test_a_key_alone_decides() -> None:
    assert job_id(PLAIN, "a", "k") == job_id(other(dimensions="PORTRAIT"), "a", "k")
    assert len({job_id(PLAIN, "a", "k"), job_id(PLAIN, "a", "l"), job_id(PLAIN, "b", "k"), job_id(PLAIN, "a")}) == 4


@pytest.mark.no_cover
@given(st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), unique=True, min_size=2, max_size=2))
def test_no_campaign_and_key_run_together(pairs: list[tuple[str, str]]) -> None:
    (campaign, key), (other_campaign, other_key) = pairs
    assert job_id(PLAIN, campaign, key) != job_id(PLAIN, other_campaign, other_key)


def test_a_path_has_no_id() -> None:
    with pytest.raises(ValueError, match="digest"):
        job_id(BlendRequest(images=("a.png", "b.png")), "default")


@pytest.mark.parametrize(("key", "take"), [(None, 0), ("k", 2)])
def test_takes_that_mean_nothing(key: str | None, take: int) -> None:
    with pytest.raises(ValueError, match="take"):
        job_id(PLAIN, "default", key, take)

"""Why a job waits, as `blendq job show` tells it: its time, a pause, or room at the doors by which it may go."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from jobs import events
from jobs.events import AnswerKind
from jobs.job import Status
from jobs.slots.found import START_SLOTS
from producer import Producer
from tests.integration.commands import UPLOADED, happen

UPSTREAMS = [
    {"name": "one", "url": "https://one.example", "slots": 5},
    {"name": "two", "url": "https://two.example", "modes": ["RELAX", "FAST"]},
]
Submitted = Callable[..., str]


@pytest.fixture
def submitted(call: Any, pictures: list[str], monkeypatch: pytest.MonkeyPatch) -> Submitted:
    """The id of a new job with these options, where there are two APIs."""
    monkeypatch.setenv("BLENDQ_UPSTREAMS", json.dumps(UPSTREAMS))

    def submitted(*options: str) -> str:
        return str(call("submit", *pictures, *options).out.strip())

    return submitted


def shown(call: Any, job_id: str) -> tuple[dict[str, Any], str]:
    told = call("job", "show", job_id, "--json").json["waits"]
    lines = [
        line.split("waits", 1)[1].strip() for line in call("job", "show", job_id).out.splitlines() if "waits" in line
    ]
    assert lines == told["why"]
    return told, "\n".join(lines)


def test_a_job_waits_for_room_at_its_doors(call: Any, blends: Producer, submitted: Submitted) -> None:
    told, said = shown(call, submitted())
    assert said == (
        f"for its turn at one (0 of 5 slots in use, room for 5 more) "
        f"or two (0 of {START_SLOTS} slots in use, room for {START_SLOTS} more)"
    )
    pinned = submitted("--mode", "FAST", "--campaign", "pinned")
    other = submitted("--mode", "FAST", "--campaign", "other")
    blends.store.apply(other, events.Release("two/FAST"))
    blends.store.circuit.pause("key", "HTTP 401", 60, "one")
    told, said = shown(call, pinned)
    assert said == (
        f"for its turn at one (paused: HTTP 401) or two/FAST (1 of {START_SLOTS} slots in use, "
        f"room for {START_SLOTS - 1} more), since it asks for mode FAST"
    )
    assert told["asks_for"] == {"upstream": "", "modes": ["FAST"], "instance": ""}
    assert [(one["name"], one["room"], one["paused"]) for one in told["doors"]] == [
        ("one", 0, "HTTP 401"),
        ("two/FAST", START_SLOTS - 1, None),
    ]
    assert call("job", "show", other, "--json").json["waits"] is None, "it is on its way"
    for job_id, upstream in ((other, "one"), (pinned, "one")):
        blends.store.circuit.resume(upstream)
        blends.cancel(job_id)


def test_a_job_that_has_nowhere_to_go_is_told_what_to_do(
    call: Any, submitted: Submitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submitted("--mode", "TURBO", "--instance-id", "7")
    monkeypatch.setenv("BLENDQ_UPSTREAMS", json.dumps(UPSTREAMS[1:]))
    told, said = shown(call, job_id)
    assert told["doors"] == []
    assert said.startswith("for mode TURBO, account 7, and no API in BLENDQ_UPSTREAMS will do: name one")
    monkeypatch.delenv("BLENDQ_UPSTREAMS")  # as where only the workers know
    told, said = shown(call, job_id)
    assert told["doors"] is None
    assert said == "for its turn at an API that the workers know, since it asks for mode TURBO, account 7"


def test_a_job_waits_for_a_person_or_its_time(call: Any, blends: Producer, submitted: Submitted) -> None:
    job_id = submitted("--campaign", "held")
    blends.campaign("held").pause("wait for the colours")
    blends.store.gate.pause("disk", "2 % of the disk is free", 60)
    _, said = shown(call, job_id)
    assert "since submitting is paused (disk): 2 % of the disk is free\n" in said
    assert "since its campaign is paused (person): wait for the colours\n" in said
    blends.store.gate.resume()
    happen(blends, job_id, *UPLOADED, events.Answer(1, AnswerKind.NO_ROOM, code=23))
    job = blends.get(job_id)
    assert job.status is Status.WAITING
    told, said = shown(call, job_id)
    assert (told["until"] is not None, said.startswith("until ")) == (True, True)
    blends.campaign("held").resume()

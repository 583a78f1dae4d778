"""`blendq upstream`: how many jobs go to the API at once, how it answers, and why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs import events
from jobs.attempt import TaskStatus
from jobs.doors import DEFAULT
from jobs.events import AnswerKind
from jobs.request import BlendRequest
from jobs.slots.found import START_SLOTS
from producer import Producer
from producer.api.health_routes import _metrics


@pytest.fixture
def full(blends: Producer, pictures: list[str]) -> Producer:
    """As many as there are slots at first are at the API and worked on, one more waits there, one was told 23."""
    for number in range(START_SLOTS + 2):
        job = blends.enqueue(BlendRequest(images=tuple(pictures)), idempotency_key=f"{pictures[0]}-{number}")
        kind = AnswerKind.ACCEPTED if number < START_SLOTS else AnswerKind.QUEUED
        task_id: str | None = f"task-{job.id}"
        if number == START_SLOTS + 1:
            kind, task_id = AnswerKind.NO_ROOM, None
        for event in (events.Release(), events.Claim("w"), events.Commit(1), events.Answer(1, kind, task_id, 1)):
            blends.store.apply(job.id, event)
        if kind is AnswerKind.ACCEPTED:
            assert task_id is not None
            blends.store.apply(job.id, events.TaskSeen(1, task_id, TaskStatus.IN_PROGRESS))
    return blends


def test_the_upstream_is_told_with_its_shares_and_its_moves(full: Producer, call: Any) -> None:
    empty = call("upstream", "show", "--json")
    told = json.loads(empty.out)
    assert (told["slots"], told["slots_set"], told["moves"]) == (START_SLOTS, False, [])
    full.store.throttle.look_at({DEFAULT: None})
    told = json.loads(call("upstream", "show", "--json").out)
    assert (told["in_use"], told["working"], told["waiting"]) == (START_SLOTS + 1, START_SLOTS, 1)
    assert told["answers_last_hour"] == {"accepted": START_SLOTS, "queued": 1, "no_room": 1}
    assert told["shares_last_hour"] == {"1": 0.6, "22": 0.2, "23": 0.2, "other": 0}
    (move,) = told["moves"]
    assert (move["before"], move["after"], move["why"]) == (3, 2, "the API had no room for another task")
    assert [one["slots"] for one in json.loads(call("upstream", "list", "--json").out)] == [2]
    said = call("upstream", "show").out
    assert "4 of 2 slots in use" in said
    assert "60.0% 1, 20.0% 22, 20.0% 23" in said
    assert "3 -> 2" in said
    assert call("upstream", "show", "another").code == 2


def test_each_of_several_is_told(
    blends: Producer, call: Any, pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also jobs that only some accounts may take, and an API that is no longer named."""
    listed = [
        {"name": "default", "url": "https://one.example", "key": "k"},
        {"name": "spare", "url": "https://two.example"},
    ]
    monkeypatch.setenv("BLENDQ_UPSTREAMS", json.dumps(listed))
    for number, door in enumerate(("spare", "spare/FAST", "old")):
        job = blends.enqueue(BlendRequest(images=tuple(pictures)), idempotency_key=f"{pictures[0]}-door-{number}")
        blends.store.apply(job.id, events.Release(door))
    blends.store.circuit.pause("key", "HTTP 401", 60, "spare")
    told = {one["name"]: one for one in json.loads(call("upstream", "list", "--json").out)}
    assert [(name, one["in_use"], one["in_settings"]) for name, one in told.items()][1:] == [
        ("spare", 1, True),
        ("old", 1, False),
    ]
    assert [(one["name"], one["in_use"]) for one in told["spare"]["pinned"]] == [("spare/FAST", 1)]
    said = call("upstream", "list").out
    assert "paused: HTTP 401" in said
    assert "1 job of ours is under way at old, which is not in the settings" in said
    assert "spare/FAST" in call("upstream", "show", "spare").out
    assert "HTTP 401" in call("resume", "spare").err
    assert call("resume", "nobody").code == 2
    assert json.loads(call("upstream", "show", "spare", "--json").out)["paused"] is None
    metrics = "".join(f"{line}\n" for line in _metrics(blends))
    assert 'blendq_slots_held{upstream="spare/FAST"} 1' in metrics
    assert 'blendq_upstream_paused{upstream="spare"} 0' in metrics


def test_a_number_that_is_set_is_told_as_such(blends: Producer, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLENDQ_SLOTS", "7")
    told = json.loads(call("upstream", "show", "--json").out)
    assert (told["slots"], told["slots_set"], told["why"]) == (7, True, "the number of slots is set")
    assert "of 7 slots in use (a number that is set)" in call("upstream", "list").out

"""Faults of the API: what the sandbox does wrong on demand, and callbacks that somebody else has forged."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from ops.chaos.scene import Action, Scene
from ops.chaos.schedule import Fault

SHARE = "share"  # stands for the share that the fault has drawn
FORGERIES_EACH = 12
FORGERY_SECONDS = 2.0


def _misbehaving(**faults: object) -> Action:
    @contextmanager
    def misbehaving(scene: Scene, fault: Fault) -> Iterator[None]:
        share = fault.details.get("share", 1.0)
        scene.stack.control("faults", {name: share if value == SHARE else value for name, value in faults.items()})
        try:
            yield
        finally:
            _end(scene, faults)

    return misbehaving


def _end(scene: Scene, faults: Mapping[str, object]) -> None:
    wells = {name: False if value is True or value == "once" else 0 for name, value in faults.items()}
    for _ in range(3):
        if scene.stack.control("faults", wells) is not None:
            return


@contextmanager
def forged(scene: Scene, fault: Fault) -> Iterator[None]:
    """Callbacks from somebody who knows the ids of jobs and tasks, but not the secret."""
    chance = random.Random(fault.number)  # noqa: S311  (repeatable on purpose)
    accepted = scene.watch.accepted()
    others = [link for entry in _published(scene) if (link := entry)]
    with httpx.Client(timeout=FORGERY_SECONDS) as http:
        for _ in range(fault.details["count"] * FORGERIES_EACH if accepted and others else 0):
            victim, other = chance.choice(accepted[-20:]), chance.choice(others)
            _forge(scene, http, chance, victim, other)
    yield


def _forge(scene: Scene, http: httpx.Client, chance: random.Random, victim: Mapping[str, Any], picture: str) -> None:
    job, _, attempt = str(victim["token"] or "job_x/1").partition("/")
    stranger = str(victim["notify_hook"] or "/x").rpartition("/")[2]
    ways = [
        f"{job}/{attempt}/{'A' * 43}",
        f"{job}/{attempt}/",
        f"{job}/{int(attempt) + 1}/{stranger}",
        f"{job[:-1]}/{attempt}/{stranger}",
        f"{job}/{attempt}/{stranger[:-1]}",
    ]
    task = {
        "id": victim["task_id"],
        "action": "BLEND",
        "status": chance.choice(("SUCCESS", "SUCCESS", "FAILURE")),
        "progress": "100%",
        "imageUrl": picture,
        "failReason": "forged",
    }
    way = chance.choice(ways)
    try:
        answer = http.post(f"http://127.0.0.1:{scene.stack.relays['hooks'].port}/hooks/{way}", json=task)
    except httpx.HTTPError:
        return
    if answer.status_code == httpx.codes.OK:
        scene.wrong.append(f"a forged callback for {job} was taken: /hooks/{way}")


def _published(scene: Scene) -> list[str]:
    """Pictures that somebody could have seen: real ones, of other jobs."""
    try:
        lines = (scene.stack.folder / "api" / "pictures.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    base = f"http://127.0.0.1:{scene.stack.relays['api'].port}/pictures"
    return [f"{base}/{json.loads(line)['name']}.png?ex=1" for line in lines[:50] if line.endswith("}")]


ACTIONS: dict[str, Action] = {
    "callbacks-dropped": _misbehaving(drop_callbacks=SHARE),
    "callbacks-repeated": _misbehaving(repeat_callbacks=4),
    "callbacks-reordered": _misbehaving(reorder_callbacks=True, repeat_callbacks=1),
    "callbacks-late": _misbehaving(delay_callbacks_seconds=1.5),
    "callbacks-early": _misbehaving(callback_before_answer=True),
    "callbacks-forged": forged,
    "links-expired": _misbehaving(expire_links="once"),
    "5xx-before": _misbehaving(fail_5xx=SHARE),
    "5xx-after": _misbehaving(fail_5xx_after=SHARE),
    "answers-lost": _misbehaving(lose_answer=SHARE),
    "gateway-loses": _misbehaving(lose_in_gateway=SHARE),
    "wrong-key": _misbehaving(refuse_key=True),
    "rate-limit": _misbehaving(rate_limit=True),
    "no-room": _misbehaving(queue_full=True),
    "no-account": _misbehaving(no_account=True),
    "quota": _misbehaving(quota=True),
    "html-answers": _misbehaving(html_answers=True),
    "internal-error": _misbehaving(internal_error=True),
    "slow-answers": _misbehaving(hang_seconds=1.0),
    "questions-fail": _misbehaving(fail_queries=SHARE),
    "tasks-fail": _misbehaving(fail_tasks=SHARE),
    "failures-flip": _misbehaving(flip_failures=True),
    "duplicate-ids": _misbehaving(duplicate_ids=True),
}

"""Callbacks that are not the API's: forged ones, and true ones once more, by somebody who saw them pass."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from jobs.job import Status
from jobs.lifecycle.change import in_conflict
from ops.chaos.produce import acknowledged
from ops.chaos.scene import Action, Scene
from ops.chaos.schedule import Fault

FORGERIES_EACH = 12
SENDERS = 3
SEND_SECONDS = 2.0
# Enough for a storm; the relays and the senders share one process.
PAUSE_SECONDS = 0.005
JOIN_SECONDS = 10.0
NEWEST = 20
# Of a task that has ended all of these were sent, and this one long ago.
EARLIER = (("SUBMITTED", "0%"), ("IN_PROGRESS", "35%"), ("IN_PROGRESS", "72%"))


@dataclass(frozen=True)
class Sender:
    """Somebody who knows the ids of jobs and tasks, and every callback that was sent, but not the secret."""

    scene: Scene
    http: httpx.Client
    chance: random.Random

    def forge(self, victim: Mapping[str, Any], picture: str) -> None:
        job, _, attempt = str(victim["token"] or "job_x/1").partition("/")
        stranger = str(victim["notify_hook"] or "/x").rpartition("/")[2]
        ways = (
            f"{job}/{attempt}/{'A' * 43}",
            f"{job}/{attempt}/",
            f"{job}/{int(attempt) + 1}/{stranger}",
            f"{job[:-1]}/{attempt}/{stranger}",
            f"{job}/{attempt}/{stranger[:-1]}",
        )
        task = {
            "id": victim["task_id"],
            "action": "BLEND",
            "status": self.chance.choice(("SUCCESS", "SUCCESS", "FAILURE")),
            "progress": "100%",
            "imageUrl": picture,
            "failReason": "forged",
        }
        way = self.chance.choice(ways)
        if self._post(f"http://127.0.0.1:{self.scene.stack.relays['hooks'].port}/hooks/{way}", task):
            self.scene.wrong.append(f"a forged callback for {job} was taken: /hooks/{way}")

    def replay(self, task: Mapping[str, Any], hook: str) -> None:
        """A true callback once more, of today or of earlier; and the same for an attempt that is not its own."""
        status, progress = self.chance.choice((*EARLIER, (task["status"], task["progress"])))
        picture = task["imageUrl"] if status == task["status"] else None
        again = dict(task) | {"status": status, "progress": progress, "imageUrl": picture}
        self._post(hook, again)
        head, attempt, mac = hook.rsplit("/", 2)
        other = f"{head}/{int(attempt) + self.chance.choice((1, 2, 7))}/{mac}"
        if self._post(other, again):
            self.scene.wrong.append(f"a callback was taken for an attempt that is not its own: {other}")

    def _post(self, url: str, task: Mapping[str, Any]) -> bool:
        """Whether it was taken."""
        try:
            return self.http.post(url, json=task).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


@contextmanager
def forged(scene: Scene, fault: Fault) -> Iterator[None]:
    accepted, others = scene.watch.accepted(), _published(scene)
    with httpx.Client(timeout=SEND_SECONDS) as http:
        sender = Sender(scene, http, _chance(fault, 0))
        for _ in range(fault.details["count"] * FORGERIES_EACH if accepted and others else 0):
            sender.forge(sender.chance.choice(accepted[-NEWEST:]), sender.chance.choice(others))
    yield


@contextmanager
def storm(scene: Scene, fault: Fault) -> Iterator[None]:
    """Forged and repeated callbacks without end, from several senders. What has succeeded stays as it is."""
    known = list(acknowledged(scene.stack.folder))
    with scene.server_lock:
        before = [job for job in scene.watch.store.find_many(known) if job and job.status is Status.SUCCEEDED]
    over = threading.Event()
    senders = [
        threading.Thread(target=_storm, args=(scene, fault, number, over), daemon=True) for number in range(SENDERS)
    ]
    for sender in senders:
        sender.start()
    try:
        yield
    finally:
        over.set()
        for sender in senders:
            sender.join(JOIN_SECONDS)
    with scene.server_lock:
        after = scene.watch.store.find_many([job.id for job in before])
    for was, now in zip(before, after, strict=True):
        if now is None or (now != was and not in_conflict(now)):
            scene.wrong.append(f"{was.id} had succeeded, and was changed in a storm of callbacks")


def _storm(scene: Scene, fault: Fault, number: int, over: threading.Event) -> None:
    with httpx.Client(timeout=SEND_SECONDS) as http:
        sender = Sender(scene, http, _chance(fault, number))
        while not over.wait(PAUSE_SECONDS):
            accepted, others = scene.watch.accepted()[-NEWEST:], _published(scene)
            shown = scene.stack.shown([entry["task_id"] for entry in accepted])
            for victim in accepted if others else ():
                sender.forge(victim, sender.chance.choice(others))
                task = shown.get(victim["task_id"], {})
                if task.get("status") == "SUCCESS":
                    sender.replay(task, victim["notify_hook"])
                if over.wait(PAUSE_SECONDS):
                    return


def _chance(fault: Fault, number: int) -> random.Random:
    return random.Random(f"{fault.number}-{number}")  # noqa: S311  (repeatable on purpose)


def _published(scene: Scene) -> list[str]:
    """Pictures that somebody could have seen: real ones, of other jobs."""
    try:
        lines = (scene.stack.folder / "api" / "pictures.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    base = f"http://127.0.0.1:{scene.stack.relays['api'].port}/pictures"
    return [f"{base}/{json.loads(line)['name']}.png?ex=1" for line in lines[:50] if line.endswith("}")]


ACTIONS: dict[str, Action] = {
    "callbacks-forged": forged,
    "callbacks-storm": storm,
}

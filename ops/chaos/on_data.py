"""Faults of the data: Redis swapped for an empty one, and disks that are full."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from jobs.errors import StoreUnavailable
from jobs.job import Job
from ops.chaos.on_redis import server_held, signal_server
from ops.chaos.scene import Action, Scene
from ops.chaos.schedule import Fault
from ops.chaos.watch import accepted_at

# Other faults of the same moment may hold up whoever is to raise it.
ALARM_SECONDS = 60.0
FIRST_USE_SECONDS = 60.0
POLL_SECONDS = 0.05


@contextmanager
def swapped(scene: Scene, _fault: Fault) -> Iterator[None]:
    """An empty server stands in for the right one, until that comes back with its records.

    Meanwhile submitting must have stopped with the alarm: nothing is enqueued, and nothing is paid for that had not
    been committed before.
    """
    folder = scene.stack.folder / "data" / "redis"
    aside = folder.with_name("redis-aside")
    _await_first_use(scene)
    with server_held(scene):
        began = time.time()
        _end_server(scene)
        folder.rename(aside)
        scene.stack.server.start()
        try:
            _await_alarm(scene)
            yield
            if counts := scene.watch.counts():
                scene.wrong.append(f"Redis had lost its records, and took jobs: {dict(counts)}")
        finally:
            _end_server(scene)
            ended = time.time()
            shutil.rmtree(folder)
            aside.rename(folder)
            scene.stack.server.start()
        _check_payments(scene, began, ended)


@contextmanager
def redis_disk_full(scene: Scene, _fault: Fault) -> Iterator[None]:
    """With `appendfsync always` the server ends when it cannot write. Once there is room, it is started again."""
    with server_held(scene):
        try:
            with scene.stack.full_disk("redis"):
                yield
        finally:
            if not scene.stack.server.alive:
                scene.stack.server.start()


@contextmanager
def pictures_disk_full(scene: Scene, _fault: Fault) -> Iterator[None]:
    """No picture can be kept, a producer's as little as a finished one."""
    with scene.stack.full_disk("images"):
        yield


def _end_server(scene: Scene) -> None:
    signal_server(scene, signal.SIGKILL)
    scene.stack.server.stop()


def _await_first_use(scene: Scene) -> None:
    """A server that nobody has used has nothing to lose, and no one could tell it from an empty one."""
    epoch = scene.stack.folder / "data" / "epoch"
    deadline = time.monotonic() + FIRST_USE_SECONDS
    while not epoch.exists():
        if time.monotonic() > deadline:
            raise TimeoutError("nobody has used Redis yet, so there are no records to lose")
        time.sleep(POLL_SECONDS)


def _await_alarm(scene: Scene) -> None:
    deadline = time.monotonic() + ALARM_SECONDS
    while time.monotonic() < deadline:
        with suppress(StoreUnavailable):
            if (pause := scene.watch.store.gate.paused()) and pause.kind == "epoch":
                return
        time.sleep(POLL_SECONDS)
    scene.wrong.append(f"Redis had lost its records, and after {ALARM_SECONDS:.0f} s there was no alarm")


def _check_payments(scene: Scene, began: float, ended: float) -> None:
    """What was paid for without records was committed while there were some."""
    for entry in scene.watch.accepted():
        if not began < accepted_at(entry) < ended:
            continue
        job_id, _, attempt = str(entry["token"]).partition("/")
        if not _committed_before(scene.watch.store.find(job_id), int(attempt), began):
            scene.wrong.append(f"{entry['token']} was paid for while Redis had lost its records")


def _committed_before(job: Job | None, number: int, at: float) -> bool:
    attempt = job.find_attempt(number) if job else None
    return attempt is not None and attempt.committed_at is not None and attempt.committed_at.timestamp() <= at


ACTIONS: dict[str, Action] = {
    "redis-swapped": swapped,
    "redis-disk-full": redis_disk_full,
    "pictures-disk-full": pictures_disk_full,
}

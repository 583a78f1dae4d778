"""Faults of processes: killed, told to leave, stopped for longer than a lease, out of disk, out of time."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jobs.errors import StoreUnavailable
from jobs.job import Status
from ops.chaos.disk import limited_files
from ops.chaos.part import SKEW_SUFFIX
from ops.chaos.produce import acknowledged
from ops.chaos.scene import Action, Scene
from ops.chaos.schedule import Fault
from ops.chaos.stack import READY_SECONDS
from ops.chaos.supervised import LEAVE_SECONDS, Part
from ops.chaos.traps import KILL, STOP, Armed

# When no worker comes by in this time, there is no work of that kind: the fault strikes wherever it can.
TRAP_SECONDS = 4.0
POLL_SECONDS = 0.02
POISON_SECONDS = 60.0


@contextmanager
def worker_kill(scene: Scene, fault: Fault) -> Iterator[None]:
    step = fault.details["step"]
    if step == "now" or _stepped_into(scene.traps.lay(step, KILL)) is None:
        _worker(scene, fault).send(signal.SIGKILL)
    yield


@contextmanager
def worker_stop(scene: Scene, fault: Fault) -> Iterator[None]:
    step = fault.details["step"]
    pid = None if step == "now" else _stepped_into(scene.traps.lay(step, STOP))
    part = next((one for one in scene.stack.workers() if one.pid == pid), _worker(scene, fault))
    part.send(signal.SIGSTOP)
    try:
        yield
    finally:
        part.send(signal.SIGCONT)


@contextmanager
def poison_job(scene: Scene, fault: Fault) -> Iterator[None]:
    """From now on, whichever worker claims this job is killed by it; it lasts until the job is parked for that.

    Nothing happens when no job waits.
    """
    victim = _poisoned(scene, fault.details["share"])
    yield
    deadline = time.monotonic() + POISON_SECONDS
    while victim and not _has_ended(scene, victim) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _poisoned(scene: Scene, share: float) -> str | None:
    """Poison a job that waits; one that was claimed in this very moment is let go."""
    deadline = time.monotonic() + TRAP_SECONDS
    while time.monotonic() < deadline:
        if waiting := _waiting(scene):
            victim = waiting[int(share * len(waiting))]
            scene.traps.poison(victim)
            if victim in _waiting(scene):
                return victim
            scene.traps.cure(victim)
        time.sleep(POLL_SECONDS)
    return None


def _waiting(scene: Scene) -> list[str]:
    with suppress(StoreUnavailable):
        known = scene.watch.store.find_many(list(acknowledged(scene.stack.folder)))
        return [job.id for job in known if job and job.status is Status.WAITING]
    return []


def _has_ended(scene: Scene, job_id: str) -> bool:
    with suppress(StoreUnavailable):
        job = scene.watch.store.find(job_id)
        return job is not None and job.status.final
    return False


@contextmanager
def worker_disk_full(scene: Scene, fault: Fault) -> Iterator[None]:
    """Every write to a file fails, as on a full disk."""
    with limited_files([_worker(scene, fault).pid]):
        yield


def _clock_skewed(prefix: str) -> Action:
    """Killed, so that it starts again with a clock that is wrong; and once more, with one that is right."""

    @contextmanager
    def clock_skewed(scene: Scene, fault: Fault) -> Iterator[None]:
        part = _named(scene, fault, prefix)
        path = scene.stack.folder / f"{part.name}{SKEW_SUFFIX}"
        path.write_text(str(fault.details["seconds"]), encoding="utf-8")
        part.send(signal.SIGKILL)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            part.send(signal.SIGKILL)

    return clock_skewed


def _killed(prefix: str) -> Action:
    @contextmanager
    def killed(scene: Scene, fault: Fault) -> Iterator[None]:
        _named(scene, fault, prefix).send(signal.SIGKILL)
        yield

    return killed


def _told_to_leave(prefix: str) -> Action:
    @contextmanager
    def told_to_leave(scene: Scene, fault: Fault) -> Iterator[None]:
        part = _named(scene, fault, prefix)
        with part.lock:
            _leave(scene, part)
        yield

    return told_to_leave


@contextmanager
def worker_restart(scene: Scene, fault: Fault) -> Iterator[None]:
    """A worker that works is told to leave, and started again: once it has left, and until it works again."""
    part, patience = _worker(scene, fault), READY_SECONDS * scene.stack.options.pace
    scene.stack.wait_until_ready(part, patience)
    with part.lock:
        _leave(scene, part)
        part.start()
    yield
    scene.stack.wait_until_ready(part, patience)


def _leave(scene: Scene, part: Part) -> None:
    began = time.monotonic()
    if not part.end(signal.SIGTERM, LEAVE_SECONDS * scene.stack.options.pace):
        scene.stack.would_not_leave.append(part.name)
    scene.stack.leaving_seconds.append(round(time.monotonic() - began, 2))


def _stopped(prefix: str) -> Action:
    @contextmanager
    def stopped(scene: Scene, fault: Fault) -> Iterator[None]:
        part = _named(scene, fault, prefix)
        part.send(signal.SIGSTOP)
        try:
            yield
        finally:
            part.send(signal.SIGCONT)

    return stopped


@contextmanager
def api_restarted(scene: Scene, fault: Fault) -> Iterator[None]:
    """Killed and started again; what it `forgets` is known, since the judge must know it."""
    part, listens = scene.stack.parts["api"], scene.stack.folder / "api.url"
    forgets = fault.kind == "api-forgets"
    with part.lock:
        part.end(signal.SIGKILL)
        listens.unlink(missing_ok=True)
        scene.watch.read_tasks()
        if forgets:
            scene.watch.forgotten_now()
        try:
            yield
        finally:
            command = part.command
            part.command = (*command, "--forget") if forgets else command
            part.start()
            part.command = command
            # Until it listens, and its relay knows where, whole requests go nowhere: the fault is still there.
            scene.stack.lead_relays(READY_SECONDS)


def _worker(scene: Scene, fault: Fault) -> Part:
    workers = scene.stack.workers()
    number: int = fault.details.get("worker", 0)
    return workers[number % len(workers)]


def _named(scene: Scene, fault: Fault, prefix: str) -> Part:
    number = fault.details.get(prefix)
    return scene.stack.parts[prefix if number is None else f"{prefix}-{number}"]


def _stepped_into(trap: Armed) -> int | None:
    """Who stepped into the trap; None when nobody did in time."""
    deadline = time.monotonic() + TRAP_SECONDS
    while (pid := trap.caught) is None:
        if time.monotonic() > deadline and trap.disarm():
            return None
        if time.monotonic() > deadline + 1.0:
            return None  # killed between the two lines of stepping into it
        time.sleep(POLL_SECONDS)
    _wait_until_struck(pid)
    return pid


def _wait_until_struck(pid: int) -> None:
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state in "TZX":
            return
        time.sleep(POLL_SECONDS)


ACTIONS: dict[str, Action] = {
    "worker-kill": worker_kill,
    "worker-stop": worker_stop,
    "poison-job": poison_job,
    "worker-term": _told_to_leave("worker"),
    "worker-restart": worker_restart,
    "worker-disk-full": worker_disk_full,
    "worker-clock": _clock_skewed("worker"),
    "receiver-clock": _clock_skewed("receiver"),
    "receiver-kill": _killed("receiver"),
    "receiver-term": _told_to_leave("receiver"),
    "receiver-stop": _stopped("receiver"),
    "beat-kill": _killed("beat"),
    "beat-stop": _stopped("beat"),
    "beat-clock": _clock_skewed("beat"),
    "producer-kill": _killed("producer"),
    "producer-clock": _clock_skewed("producer"),
    "api-restarted": api_restarted,
    "api-forgets": api_restarted,
    "api-stop": _stopped("api"),
}

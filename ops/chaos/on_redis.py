"""Faults of Redis itself, and of the wake-ups in it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import redis

from jobs.errands import Errands
from jobs.job import Status
from jobs.keys import Keys
from jobs.queue import QUEUE_LISTS, Wakeups, make_app
from jobs.settings import Settings
from ops.chaos.scene import Action, Scene
from ops.chaos.schedule import Fault

# Where wake-ups wait: the messages, and the names of the jobs that they are about.
LISTS = [*QUEUE_LISTS, *map(Keys().errands, ("submit", "collect"))]
THIEVES = 6
# Nobody listens there: a server that follows it takes no writes, and never loses what it has.
NO_PRIMARY = ("127.0.0.1", "1")


@contextmanager
def killed(scene: Scene, _fault: Fault) -> Iterator[None]:
    with server_held(scene):
        signal_server(scene, signal.SIGKILL)
        try:
            yield
        finally:
            scene.stack.server.start()


@contextmanager
def stopped(scene: Scene, _fault: Fault) -> Iterator[None]:
    pid = scene.stack.server.pid
    signal_server(scene, signal.SIGSTOP)
    try:
        yield
    finally:
        if scene.stack.server.pid == pid:
            signal_server(scene, signal.SIGCONT)


@contextmanager
def paused(scene: Scene, fault: Fault) -> Iterator[None]:
    _ask(scene, lambda admin: admin.client_pause(int(fault.lasts_seconds * 1000)))
    yield


def _configured(name: str, ill: str, well: str) -> Action:
    @contextmanager
    def configured(scene: Scene, _fault: Fault) -> Iterator[None]:
        _ask(scene, lambda admin: admin.config_set(name, ill))
        try:
            yield
        finally:
            _ask(scene, lambda admin: admin.config_set(name, well), insist=True)

    return configured


@contextmanager
def read_only(scene: Scene, _fault: Fault) -> Iterator[None]:
    _ask(scene, lambda admin: _follow(admin, *NO_PRIMARY))
    try:
        yield
    finally:
        _ask(scene, lambda admin: _follow(admin, "NO", "ONE"), insist=True)


@contextmanager
def wakeups_lost(scene: Scene, _fault: Fault) -> Iterator[None]:
    """Somebody else takes messages and names: whoever waits for one in Redis gets it only when it is his turn."""
    over = threading.Event()

    def steal() -> None:
        with scene.admin() as admin:
            while not over.is_set():
                try:
                    admin.brpop(LISTS, timeout=0.1)
                except redis.RedisError:
                    time.sleep(0.1)

    thieves = [threading.Thread(target=steal, daemon=True) for _ in range(THIEVES)]
    for thief in thieves:
        thief.start()
    try:
        yield
    finally:
        over.set()
        for thief in thieves:
            thief.join(5.0)


@contextmanager
def wakeups_doubled(scene: Scene, _fault: Fault) -> Iterator[None]:
    """Every job that was let through is announced again and again."""
    over = threading.Event()
    app = make_app(Settings.load({}, data_dir=scene.stack.folder / "data"))

    def announce() -> None:
        with scene.admin() as admin:
            wakeups = Wakeups(app, Errands(admin))
            while not over.is_set():
                with suppress(redis.RedisError, OSError):
                    for job_id in admin.zrange(scene.watch.store.keys.at(Status.RELEASED), 0, -1):
                        wakeups.submit(job_id.decode(), job_id.decode())
                time.sleep(0.02)

    crier = threading.Thread(target=announce, daemon=True)
    crier.start()
    try:
        yield
    finally:
        over.set()
        crier.join(5.0)
        app.close()


@contextmanager
def server_held(scene: Scene) -> Iterator[None]:
    """Whatever becomes of the server, nobody else starts it again."""
    with scene.server_lock:
        scene.stack.server_held = True
        try:
            yield
        finally:
            scene.stack.server_held = False


def signal_server(scene: Scene, number: int) -> None:
    with suppress(ProcessLookupError):
        if (pid := scene.stack.server.pid) is not None and scene.stack.server.alive:
            os.kill(pid, number)


def _ask(scene: Scene, command: Callable[[redis.Redis], object], *, insist: bool = False) -> None:
    """Tell the server something; to heal it is tried for as long as another fault may last."""
    deadline = time.monotonic() + (15.0 if insist else 0.0)
    while True:
        with suppress(redis.RedisError), scene.admin() as admin:
            command(admin)
            return
        if time.monotonic() > deadline:
            return
        time.sleep(0.1)


def _follow(admin: redis.Redis, *primary: str) -> None:
    admin.execute_command("REPLICAOF", *primary)  # type: ignore[no-untyped-call]


def heal(scene: Scene) -> None:
    """Whatever is left of any fault here."""
    with scene.server_lock:
        if not scene.stack.server.alive:
            scene.stack.server.start()
    signal_server(scene, signal.SIGCONT)
    for command in (
        lambda admin: admin.config_set("maxmemory", "0"),
        lambda admin: admin.config_set("min-replicas-to-write", "0"),
        lambda admin: _follow(admin, "NO", "ONE"),
    ):
        _ask(scene, command, insist=True)


ACTIONS: dict[str, Action] = {
    "redis-kill": killed,
    "redis-stop": stopped,
    "redis-pause": paused,
    "redis-full": _configured("maxmemory", "1", "0"),
    "redis-no-replicas": _configured("min-replicas-to-write", "1", "0"),
    "redis-read-only": read_only,
    "wakeups-lost": wakeups_lost,
    "wakeups-doubled": wakeups_doubled,
}

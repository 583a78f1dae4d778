"""`blendq health …` against real processes: it says yes while they work, and no when they do not."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from jobs.errands import COLLECTS, Errands
from jobs.events import Release
from jobs.keys import BROKER_PREFIX, Keys
from jobs.policy import Policy
from jobs.queue import DISPATCH, Wakeups, make_app
from jobs.server import connect
from jobs.settings import Settings
from jobs.store import JobStore
from ops.embedded import EmbeddedServer
from ops.health import UnhealthyError, beat_health, flower_health, receiver_health
from ops.health_worker import _worker_health, worker_health
from ops.ownership import Ownership
from tests.integration.sandboxes import Sandbox
from tests.integration.workbench import wait_for
from tests.ports import free_port
from tests.unit.lifecycle_world import new_job

DEADLINE_SECONDS = 40.0
LOGIN = "somebody:her-password"
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def settings(server_binary: Path, tmp_path: Path) -> Settings:
    """Settings with a server of their own, because tests stop it."""
    return Settings(
        data_dir=tmp_path / "data",
        api_url="http://127.0.0.1:9",
        receiver_port=free_port(),
        worker_threads=2,
    )


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody on this machine needs so long to answer; and tests wait for several who never do."""
    monkeypatch.setattr("ops.health_worker.ANSWER_SECONDS", 1.0)


@pytest.fixture
def server(settings: Settings) -> Iterator[EmbeddedServer]:
    with Ownership(settings.data_dir) as owner, EmbeddedServer(settings, owner) as server:
        yield server


@pytest.fixture
def start(settings: Settings, server: EmbeddedServer, tmp_path: Path) -> Iterator[Start]:
    """Starts a part as a process of its own; all are gone at the end."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*command: str, **variables: str) -> subprocess.Popen[bytes]:
        env = {**os.environ, **settings.to_environment(), **variables}
        with (tmp_path / "parts.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", *command], env=env, stdout=log, stderr=log)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


def _soon(check: Callable[[], str]) -> str:
    """Ask until it is healthy; a part needs a moment to start, or to find its way back."""
    give_up_at = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            return check()
        except UnhealthyError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.1)


def _ask(part: str, settings: Settings, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What a container's healthcheck runs."""
    env = {**os.environ, **settings.to_environment(), **variables}
    command = [sys.executable, "-m", "ops.cli", "health", part, *options]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


# worker ------------------------------------------------------------------------------------------------------------


def test_a_worker_is_healthy_while_it_works_and_not_when_it_hangs(settings: Settings, start: Start) -> None:
    assert _ask("worker", settings).returncode == 1  # there is none yet
    process = start("ops.cli", "worker")
    assert "listens to every queue" in _soon(lambda: worker_health(settings))

    asked = _ask("worker", settings, "--json")
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout) == {"part": "worker", "healthy": True, "says": json.loads(asked.stdout)["says"]}

    process.send_signal(signal.SIGSTOP)
    with pytest.raises(UnhealthyError, match="no worker of"):
        worker_health(settings)
    process.send_signal(signal.SIGCONT)
    _soon(lambda: worker_health(settings))


def test_only_the_worker_of_this_machine_counts(settings: Settings, start: Start) -> None:
    start("ops.cli", "worker")
    _soon(lambda: worker_health(settings))
    with pytest.raises(UnhealthyError, match="no worker of elsewhere"):
        worker_health(settings, host="elsewhere")


def test_a_worker_outlives_the_redis_that_its_wake_ups_came_from(
    settings: Settings, server: EmbeddedServer, start: Start
) -> None:
    """Celery would end it, if any of them were not acknowledged by then."""
    process = start("ops.cli", "worker")
    _soon(lambda: worker_health(settings))
    with make_app(settings) as app:
        for _ in range(3):
            app.send_task(DISPATCH)
            time.sleep(0.3)  # its thread stays for a second
            assert server.pid
            os.kill(server.pid, signal.SIGKILL)
            server.start()
            _soon(lambda: worker_health(settings))
            assert process.poll() is None


def test_what_a_worker_that_died_was_called_for_is_found_with_the_next_tick(
    settings: Settings, server: EmbeddedServer, start: Start
) -> None:
    """It had taken the message, and had not come to the list."""
    with connect(settings.redis_address()) as client, make_app(settings) as app:
        Wakeups(app, Errands(client)).collect_again("job_1")
        assert client.brpop([BROKER_PREFIX + COLLECTS], timeout=5), "nobody was called"
        start("ops.cli", "worker")
        _soon(lambda: worker_health(settings))
        assert client.llen(Keys().errands(COLLECTS)) == 1
        app.send_task(DISPATCH)
        wait_for(lambda: not client.llen(Keys().errands(COLLECTS)), lambda: "nobody came", DEADLINE_SECONDS)


def test_a_worker_that_left_a_queue_is_not_healthy(settings: Settings, start: Start) -> None:
    start("ops.cli", "worker")
    _soon(lambda: worker_health(settings))
    with make_app(settings) as app:
        app.control.cancel_consumer("submit", reply=True)
        with pytest.raises(UnhealthyError, match="does not listen to submit"):
            worker_health(settings)
        app.control.add_consumer("submit", reply=True)
    _soon(lambda: worker_health(settings))


class _DeafWorker:
    """Answers every question, and takes nothing: as a worker after a reconnect that went half well."""

    name = f"blendq@{socket.gethostname()}-1"
    active: tuple[str, ...] = ()
    taken = 0

    def __init__(self, settings: Settings) -> None:
        conf = make_app(settings).conf
        self.app = SimpleNamespace(conf=conf, control=SimpleNamespace(inspect=lambda *_, **__: self.inspected()))

    def inspected(self) -> Any:
        stats: Mapping[str, Any] = {"total": {"blendq.sweep": self.taken}, "pool": {"max-concurrency": 2}}
        queues = [{"name": name} for name in ("control", "submit", "collect")]
        answers = {"stats": stats, "active": list(self.active), "active_queues": queues}
        return SimpleNamespace(**{question: lambda a=answer: {self.name: a} for question, answer in answers.items()})


@pytest.fixture
def deaf(settings: Settings, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> _DeafWorker:
    worker = _DeafWorker(settings)
    monkeypatch.setattr("ops.health_worker.PROGRESS_SECONDS", 0.3)
    return worker


def _check(settings: Settings, worker: _DeafWorker) -> str:
    with redis.Redis.from_url(settings.redis_address()) as client:
        client.lpush(f"{BROKER_PREFIX}control", "a wake-up")
        return _worker_health(worker.app, client, socket.gethostname())


def test_a_worker_that_takes_nothing_is_not_healthy(settings: Settings, deaf: _DeafWorker) -> None:
    with pytest.raises(UnhealthyError, match="takes none of the 1 wake-ups"):
        _check(settings, deaf)


def test_a_worker_whose_threads_are_all_busy_is_healthy(settings: Settings, deaf: _DeafWorker) -> None:
    deaf.active = ("one", "two")
    assert "busy" in _check(settings, deaf)


def test_a_worker_that_cannot_ask_about_some_jobs_says_so(
    settings: Settings, deaf: _DeafWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is healthy: to start it again would not help."""
    monkeypatch.setattr("ops.health_worker.make_app", lambda _: nullcontext(deaf.app))
    assert "under way" not in worker_health(settings)
    with connect(settings.redis_address()) as client:
        store = JobStore(client, Policy())
        now = store.now()
        store.create([new_job(id=f"job_{number}", created_at=now, due_at=now) for number in range(3)])
        store.apply("job_0", Release("default"))
        for name in ("job_1", "job_2"):
            store.apply(name, Release("gone"))
    says = worker_health(settings)
    assert "2 jobs of ours are under way at gone, which is not in the settings" in says
    assert "name it again in BLENDQ_UPSTREAMS" in says
    assert "at default" not in says


def test_without_its_server_nothing_is_healthy(settings: Settings, server: EmbeddedServer, start: Start) -> None:
    start("ops.cli", "worker")
    start("ops.cli", "receiver")
    _soon(lambda: worker_health(settings))
    _soon(lambda: receiver_health(settings))

    server.stop()
    with pytest.raises(UnhealthyError, match="Redis does not answer"):
        worker_health(settings)
    with pytest.raises(UnhealthyError, match="503: the receiver runs"):
        receiver_health(settings)

    server.start()
    _soon(lambda: worker_health(settings))
    _soon(lambda: receiver_health(settings))


# beat --------------------------------------------------------------------------------------------------------------


def test_beat_is_healthy_while_its_ticks_leave(settings: Settings, start: Start) -> None:
    with pytest.raises(UnhealthyError, match="no tick left yet"):
        beat_health(settings)
    start("ops.cli", "beat")
    assert "the last tick left" in _soon(lambda: beat_health(settings))
    assert _ask("beat", settings).returncode == 0


def test_beat_is_not_healthy_when_its_ticks_stop(settings: Settings, server: EmbeddedServer, start: Start) -> None:
    """Beat itself goes on running without Redis; only its ticks do not leave."""
    process = start("ops.cli", "beat")
    _soon(lambda: beat_health(settings))
    server.stop()
    stopped_at = time.time()
    with pytest.raises(UnhealthyError, match=r"the last tick left 1[5-9] s ago"):
        beat_health(settings, now=stopped_at + 16)
    assert process.poll() is None
    server.start()
    _soon(lambda: _newer_than(stopped_at, settings))


def _newer_than(moment: float, settings: Settings) -> str:
    if (settings.data_dir / "beat.tick").stat().st_mtime <= moment + 1:
        raise UnhealthyError("no new tick yet")
    return beat_health(settings)


# What speaks HTTP --------------------------------------------------------------------------------------------------


def test_the_receiver_is_asked_where_it_listens(settings: Settings, start: Start) -> None:
    assert "does not answer" in _ask("receiver", settings).stderr
    everywhere = {"BLENDQ_RECEIVER_HOST": "0.0.0.0"}
    start("ops.cli", "receiver", **everywhere)
    _soon(lambda: receiver_health(settings))
    assert _ask("receiver", settings, **everywhere).returncode == 0


def test_flower_is_healthy_when_it_lets_in_whoever_may_and_nobody_else(settings: Settings, start: Start) -> None:
    url = f"http://127.0.0.1:{settings.receiver_port}"
    command = ("celery", "-A", "ops.flower", "flower", "--address=127.0.0.1", f"--port={settings.receiver_port}")
    process = start(*command, FLOWER_BASIC_AUTH=LOGIN)
    assert "answers" in _soon(lambda: flower_health(url, LOGIN))
    assert _ask("flower", settings, "--url", url, FLOWER_BASIC_AUTH=LOGIN).returncode == 0

    with pytest.raises(UnhealthyError, match="HTTP 401"):
        flower_health(url, "somebody:wrong")
    unset = _ask("flower", settings, "--url", url)
    assert unset.returncode == 1
    assert "set FLOWER_BASIC_AUTH" in unset.stderr

    process.kill()
    process.wait()
    start(*command)
    assert "does not ask for a password" in _soon(lambda: _complaint_of_flower(url))


def _complaint_of_flower(url: str) -> str:
    """What is wrong with it, once it runs."""
    try:
        return flower_health(url, LOGIN)
    except UnhealthyError as problem:
        if "does not answer" in str(problem):
            raise
        return str(problem)


def test_the_sandbox_is_asked_how_its_tasks_are(settings: Settings, tmp_path: Path) -> None:
    with Sandbox(tmp_path) as sandbox:
        assert _ask("sandbox", settings, "--url", sandbox.url).returncode == 0
        url = sandbox.url
    asked = _ask("sandbox", settings, "--url", url, "--json")
    assert asked.returncode == 1
    assert json.loads(asked.stdout)["healthy"] is False

"""The receiver over real HTTP: what is recorded, and what is refused."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from jobs import events
from jobs.events import AnswerKind
from jobs.job import Job, Status
from jobs.keys import Keys
from jobs.policy import Policy
from jobs.server import connect
from jobs.settings import Settings
from jobs.store import JobStore
from tests.integration.workbench import Written, wait_for
from tests.unit.lifecycle_world import new_job
from worker import receiver as room
from worker.hooks import Hooks
from worker.receiver import MAX_BODY_BYTES, Receiver

SECRET = b"a-secret-of-the-tests"


@dataclass
class Listening:
    """A receiver that listens, and what it is made of."""

    http: httpx.Client
    store: JobStore
    hooks: Hooks
    wakeups: Written
    port: int

    def add(self, job_id: str = "job_1") -> Job:
        """A job whose first attempt is committed, and not answered."""
        now = self.store.now()
        self.store.create([new_job(id=job_id, created_at=now, due_at=now, order=self.store.next_orders(1))])
        for event in (events.Release(), events.Claim("w1"), events.Commit(1)):
            self.store.apply(job_id, event)
        return self.store.get(job_id)

    def call(self, body: Any, job_id: str = "job_1", attempt: int = 1) -> int:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post(f"/hooks/{self.hooks.token(job_id, attempt)}", content=content).status_code


def task(status: str = "IN_PROGRESS", **fields: Any) -> dict[str, Any]:
    return {"id": "t1", "action": "BLEND", "status": status, "progress": "35%", "unheard": {"of": 1}} | fields


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, redis_url=redis_url, receiver_port=0)


def serve(store: JobStore, hooks: Hooks, wakeups: Written) -> tuple[uvicorn.Server, threading.Thread, int]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(Receiver(store, hooks, wakeups).asgi, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    wait_for(lambda: server.started, lambda: "the receiver did not start")
    return server, thread, listener.getsockname()[1]


@pytest.fixture
def receiver(settings: Settings, keys: Keys) -> Iterator[Listening]:
    store = JobStore(connect(settings.redis_address()), Policy(), keys)
    hooks, wakeups = Hooks([SECRET], None), Written(settings)
    server, thread, port = serve(store, hooks, wakeups)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as http:
        yield Listening(http, store, hooks, wakeups, port)
    server.should_exit = True
    thread.join()
    store.close()


def test_a_callback_before_the_answer_is_recorded(receiver: Listening) -> None:
    receiver.add()
    assert receiver.call(task()) == 200
    job = receiver.store.get("job_1")
    assert (job.status, job.attempt and job.attempt.task_id, job.attempt and job.attempt.progress) == (
        Status.RUNNING,
        "t1",
        35,
    )


def test_callbacks_during_and_after_the_answer(receiver: Listening) -> None:
    receiver.add()
    receiver.store.apply("job_1", events.Answer(1, AnswerKind.QUEUED, "t1", 3, 22))
    assert receiver.call(task("SUBMITTED", progress="0%")) == 200
    assert receiver.store.get("job_1").status is Status.ACCEPTED
    assert receiver.call(task("SUCCESS", progress="100%", imageUrl="http://cdn/1?ex=2")) == 200
    job = receiver.store.get("job_1")
    assert (job.status, job.attempt and job.attempt.image_url) == (Status.COLLECTING, "http://cdn/1?ex=2")
    assert receiver.wakeups.collects == ["job_1"]
    assert receiver.wakeups.dispatches == 1, "its slot is free for another"


def test_repeated_and_reversed_callbacks_change_nothing_more(receiver: Listening) -> None:
    receiver.add()
    done = task("SUCCESS", progress="100%", imageUrl="http://cdn/1")
    for body in (done, done, task(), task("SUBMITTED", progress=""), done):
        assert receiver.call(body) == 200
    changes = [entry.event for entry in receiver.store.history("job_1")].count("task_seen")
    assert (changes, receiver.store.get("job_1").status) == (1, Status.COLLECTING)


def test_a_callback_for_an_attempt_of_long_ago_is_matched(receiver: Listening) -> None:
    receiver.add()
    receiver.store.apply("job_1", events.Answer(1, AnswerKind.NO_ROOM, code=23))
    assert receiver.call(task()) == 200
    assert receiver.store.get("job_1").status is Status.RUNNING


@pytest.mark.parametrize("status", ["QUANTUM", "", None, 7, {"x": 1}])
def test_an_unknown_status_does_no_harm(receiver: Listening, status: Any) -> None:
    receiver.add()
    assert receiver.call(task(status=status)) == 200
    assert receiver.store.get("job_1").status is Status.ACCEPTED


def test_whatever_does_not_verify_gets_the_same_404(receiver: Listening) -> None:
    """I4: nothing tells a stranger whether a job, an attempt or a path exists."""
    receiver.add()
    before = receiver.store.get("job_1")
    job, attempt, mac = receiver.hooks.token("job_1", 1).split("/")
    paths = [
        f"/hooks/{job}/{attempt}/{mac[:-1]}",
        f"/hooks/{job}/{attempt}/{mac}x",
        f"/hooks/{job}/2/{mac}",
        f"/hooks/job_2/{attempt}/{mac}",
        f"/hooks/{receiver.hooks.token('job_unknown', 1)}",
        f"/hooks/{job}/{attempt}/",
        f"/hooks/{job}/{attempt}/{mac}/more",
        "/hooks/%00/%ff/%2f",
        "/",
        "/docs",
    ]
    answers = [receiver.http.post(path, json=task()) for path in paths]
    answers += [receiver.http.get(f"/hooks/{job}/{attempt}/{mac}"), receiver.http.put("/livez")]
    assert {(answer.status_code, answer.content) for answer in answers} == {(404, b"")}
    assert len({tuple(sorted(set(answer.headers) - {"date"})) for answer in answers}) == 1
    assert receiver.store.get("job_1") == before


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b'"text"', b"\xff\xfe", b"{", b'{"id": ""}', b"[" * 100_000, b'{"id": {"x": 1}}'],
    ids=["empty", "null", "list", "no id", "text", "not UTF-8", "cut", "empty id", "deep", "id no text"],
)
def test_a_body_that_is_no_task_is_refused_and_recorded_nowhere(receiver: Listening, body: bytes) -> None:
    before = receiver.add()
    assert receiver.call(body) == 400
    assert receiver.store.get("job_1") == before


def test_a_giant_body_is_refused(receiver: Listening) -> None:
    receiver.add()
    assert receiver.call(b" " * (MAX_BODY_BYTES + 1)) == 413
    assert receiver.call(task(prompt="x" * (MAX_BODY_BYTES // 2))) == 200


def test_a_giant_body_in_chunks_is_refused_before_it_ends(receiver: Listening) -> None:
    receiver.add()
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b"x" * 16384

    answer = receiver.http.post(f"/hooks/{receiver.hooks.token('job_1', 1)}", content=endless())
    assert answer.status_code == 413


def test_a_slow_sender_is_cut_off(receiver: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "BODY_DEADLINE_SECONDS", 0.2)
    receiver.add()
    head = f"POST /hooks/{receiver.hooks.token('job_1', 1)} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as slow:
        slow.sendall(head.encode() + b"{")
        assert b"408" in slow.recv(100)


def test_a_sender_that_hangs_up_harms_nobody(receiver: Listening) -> None:
    receiver.add()
    head = f"POST /hooks/{receiver.hooks.token('job_1', 1)} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as gone:
        gone.sendall(head.encode() + b"{")
    assert receiver.call(task()) == 200


def test_health_is_that_of_redis(receiver: Listening, settings: Settings, tmp_path: Path) -> None:
    assert receiver.http.get("/livez").status_code == 200
    dead = JobStore(connect(f"unix://{tmp_path}/none.sock"), Policy())
    server, thread, port = serve(dead, receiver.hooks, receiver.wakeups)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as http:
            assert http.get("/livez").status_code == 503
            answer = http.post(f"/hooks/{receiver.hooks.token('job_1', 1)}", json=task())
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    finally:
        server.should_exit = True
        thread.join()


def start(settings: Settings, *arguments: str) -> subprocess.Popen[str]:
    program = "import sys; from pathlib import Path; from jobs.settings import Settings; "
    program += "from worker.receiver import run_receiver; sys.exit(run_receiver(Settings.load(), Path(sys.argv[1])))"
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, env=settings.to_environment(), stderr=subprocess.PIPE, text=True)


def test_the_process_listens_announces_itself_and_leaves(settings: Settings, tmp_path: Path) -> None:
    announced = tmp_path / "url"
    process = start(settings, str(announced))
    try:
        wait_for(announced.exists, lambda: "nothing was announced")
        assert httpx.get(announced.read_text() + "/livez").status_code == 200
    finally:
        process.terminate()
        _, printed = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "receiver listening on http://127.0.0.1:" in printed
    assert "Traceback" not in printed


def test_a_taken_port_is_told_in_plain_words(settings: Settings, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(settings.model_copy(update={"receiver_port": port}), str(tmp_path / "url"))
        _, printed = process.communicate(timeout=20)
    assert process.returncode != 0
    assert f"cannot listen on 127.0.0.1:{port}" in printed

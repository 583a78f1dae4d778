"""The receiver over real HTTP: what is recorded, and what is refused."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs import events
from jobs.errands import COLLECTS, CONTROL
from jobs.events import AnswerKind
from jobs.job import Status
from jobs.keys import Keys
from jobs.link import Link
from jobs.policy import Policy
from jobs.queue import ALL_JOBS
from jobs.settings import Settings
from jobs.store import JobStore
from tests.integration.listening import Listening, listening, task
from tests.integration.workbench import wait_for
from worker.http import MAX_BODY_BYTES


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, redis_url=redis_url, receiver_port=0)


@pytest.fixture
def receiver(settings: Settings, keys: Keys) -> Iterator[Listening]:
    with listening(settings, keys) as one:
        yield one


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
    wait_for(lambda: receiver.errands(COLLECTS) == ["job_1"], lambda: "the picture is not fetched")
    wait_for(lambda: receiver.errands(CONTROL) == [ALL_JOBS], lambda: "its slot is free, and nobody is told")


def test_repeated_and_reversed_callbacks_change_nothing_more(receiver: Listening) -> None:
    receiver.add()
    done = task("SUCCESS", progress="100%", imageUrl="http://cdn/1")
    for body in (done, done, task(), task("SUBMITTED", progress=""), done):
        assert receiver.call(body) == 200
    changes = [entry.event for entry in receiver.store.history("job_1")].count("task_seen")
    assert (changes, receiver.store.get("job_1").status) == (1, Status.COLLECTING)


def test_the_next_callback_reads_no_record_unless_another_wrote_it(
    receiver: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.add()
    read: list[bytes] = []
    loaded = receiver.store.loaded

    def heard(answers: Sequence[Any]) -> Any:
        read.extend(version for _, version in answers[1:])
        return loaded(answers)

    monkeypatch.setattr(receiver.store, "loaded", heard)
    progress = {percent: task(progress=f"{percent}%") for percent in (10, 20, 30)}
    assert (receiver.call(progress[10]), read) == (200, [b"4"])
    assert (receiver.call(progress[20]), read) == (200, [b"4"])
    JobStore(receiver.store._redis, Policy(), receiver.store.keys).apply("job_1", events.Cancel())
    assert (receiver.call(progress[30]), read) == (200, [b"4", b"7"])
    job = receiver.store.get("job_1")
    assert (job.cancel_requested, job.attempt and job.attempt.progress) == (True, 30)


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


def test_a_sender_that_hangs_up_harms_nobody(receiver: Listening) -> None:
    receiver.add()
    head = f"POST /hooks/{receiver.hooks.token('job_1', 1)} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as gone:
        gone.sendall(head.encode() + b"{")
    assert receiver.call(task()) == 200


def test_health_is_that_of_redis(receiver: Listening, settings: Settings, tmp_path: Path) -> None:
    assert receiver.http.get("/livez").status_code == 200
    with listening(settings, receiver.store.keys, link=Link(f"unix://{tmp_path}/none.sock")) as other:
        assert other.http.get("/livez").status_code == 503
        answer = other.http.post(f"/hooks/{other.hooks.token('job_1', 1)}", json=task())
        assert (answer.status_code, answer.headers["Retry-After"], answer.content) == (503, "1", b"")


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

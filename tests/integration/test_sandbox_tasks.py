"""The sandbox as a process: the life of tasks, their pictures, callbacks, and restarts."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import queue
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.integration.sandboxes import Sandbox

Start = Callable[..., httpx.Client]
QUICK = ("--speed", "100", "--task-seconds", "5", "10")
STUCK = ("--task-seconds", "5000", "5000")


def png(number: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 16), (number % 256, 90, 9)).save(out, "PNG")
    return out.getvalue()


def submit(client: httpx.Client, *numbers: int, **more: Any) -> str:
    """Submit a blend that is accepted; return its task's id."""
    urls = [f"data:image/png;base64,{base64.b64encode(png(n)).decode()}" for n in numbers or (1, 2)]
    answer = client.post("/mj/submit/blend", json={"base64Array": urls} | more).json()
    assert answer["code"] in (1, 22), answer
    return str(answer["result"])


def fetch(client: httpx.Client, task_id: str) -> Any:
    return client.get(f"/mj/task/{task_id}/fetch").json()


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """What `condition` returns, once it is something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return found


def finished(client: httpx.Client, task_id: str, status: str = "SUCCESS") -> dict[str, Any]:
    task = wait_for(lambda: (task := fetch(client, task_id))["status"] == status and task)
    assert isinstance(task, dict)
    return task


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path)
    yield made
    if made.url:
        assert made.stop() == 0
        assert "Traceback" not in made.printed()


@pytest.fixture
def start(box: Sandbox) -> Iterator[Start]:
    """Starts the sandbox with the given flags, any number of times; returns a client of it."""
    clients: list[httpx.Client] = []

    def run(*flags: str) -> httpx.Client:
        box.start(*flags)
        clients.append(httpx.Client(base_url=box.url, timeout=20))
        return clients[-1]

    yield run
    for client in clients:
        client.close()


class Receiver:
    """Receives callbacks; `may_answer` is cleared to be slow."""

    def __init__(self) -> None:
        self.tasks: queue.Queue[dict[str, Any]] = queue.Queue()
        self.may_answer = threading.Event()
        self.may_answer.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                task = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.tasks.put(task | {"_headers": dict(self.headers)})
                receiver.may_answer.wait(30)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks/job/1/mac"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def until(self, status: str) -> list[dict[str, Any]]:
        """Everything up to the first callback of this status."""
        received = [self.tasks.get(timeout=20)]
        while received[-1]["status"] != status:
            received.append(self.tasks.get(timeout=20))
        return received

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def test_from_submission_to_a_picture_of_the_very_inputs(start: Start) -> None:
    client = start(*QUICK)
    task = finished(client, submit(client, 1, 2, dimensions="PORTRAIT", state="mine"))
    assert (task["action"], task["progress"], task["state"]) == ("BLEND", "100%", "mine")
    assert task["submitTime"] <= task["startTime"] <= task["finishTime"]
    picture = httpx.get(task["imageUrl"])
    assert picture.headers["content-type"] == "image/png"
    image = Image.open(io.BytesIO(picture.content))
    assert image.width * 3 == image.height * 2
    inputs = ",".join(hashlib.sha256(png(n)).hexdigest() for n in (1, 2))
    assert image.info["blendq-sandbox-inputs"] == inputs
    assert httpx.get(task["imageUrl"].partition("?")[0]).status_code == 403


class TestCallbacks:
    def test_every_change_is_called_back_without_any_authentication(self, start: Start, receiver: Receiver) -> None:
        client = start(*QUICK, "--api-key", "k")
        client.headers["mj-api-secret"] = "k"
        task_id = submit(client, notifyHook=receiver.url, state="s")
        wait_for(lambda: client.get("/sandbox/stats").json()["callbacks"]["delivered"] == 5)
        received = [receiver.tasks.get_nowait() for _ in range(5)]
        seen = {(task["status"], task["progress"]) for task in received}
        assert seen == {
            ("SUBMITTED", "0%"),
            ("IN_PROGRESS", "0%"),
            ("IN_PROGRESS", "35%"),
            ("IN_PROGRESS", "72%"),
            ("SUCCESS", "100%"),
        }
        assert {task["id"] for task in received} == {task_id}
        assert all({"mj-api-secret", "authorization"}.isdisjoint(task["_headers"]) for task in received)

    def test_a_preview_stands_in_the_place_of_the_picture_that_is_being_made(
        self, start: Start, receiver: Receiver
    ) -> None:
        client = start(*QUICK)
        submit(client, notifyHook=receiver.url)
        shown = {task["progress"]: task["imageUrl"] for task in (receiver.tasks.get(timeout=20) for _ in range(5))}
        assert shown["0%"] is None
        assert shown["35%"] == shown["72%"] != shown["100%"]
        preview, whole = (Image.open(io.BytesIO(httpx.get(shown[at]).content)) for at in ("72%", "100%"))
        assert preview.size == whole.size
        assert preview.info["blendq-sandbox-preview-of"] == whole.info["blendq-sandbox-inputs"]
        assert "blendq-sandbox-inputs" not in preview.info

    def test_they_are_sent_once_and_never_again(self, start: Start, receiver: Receiver) -> None:
        client = start(*QUICK)
        receiver.close()
        finished(client, submit(client, notifyHook=receiver.url))
        wait_for(lambda: client.get("/sandbox/stats").json()["callbacks"]["failed"] == 5)

    def test_dropped_repeated_and_out_of_order(self, start: Start, receiver: Receiver) -> None:
        client = start(*QUICK, "--drop-callbacks", "1", "--seed", "1")
        finished(client, submit(client, notifyHook=receiver.url))
        assert client.get("/sandbox/stats").json()["callbacks"]["dropped"] == 5
        assert receiver.tasks.empty()
        client.post("/sandbox/faults", json={"drop_callbacks": 0, "repeat_callbacks": 3, "reorder_callbacks": True})
        finished(client, submit(client, notifyHook=receiver.url))
        wait_for(lambda: client.get("/sandbox/stats").json()["callbacks"]["delivered"] == 20)
        order = [receiver.tasks.get_nowait()["progress"] for _ in range(20)]
        assert order.count("100%") == 4
        assert order != sorted(order, key=lambda progress: int(progress[:-1]))

    def test_the_first_may_come_before_the_answer(self, start: Start, receiver: Receiver) -> None:
        client = start(*STUCK, "--callback-before-answer")
        receiver.may_answer.clear()
        answers: queue.Queue[str] = queue.Queue()
        thread = threading.Thread(target=lambda: answers.put(submit(client, notifyHook=receiver.url)))
        thread.start()
        early = receiver.tasks.get(timeout=20)
        assert answers.empty()
        receiver.may_answer.set()
        assert answers.get(timeout=20) == early["id"]
        thread.join()

    def test_ten_slow_receivers_starve_everyone_but_not_the_exit(
        self, start: Start, receiver: Receiver, box: Sandbox
    ) -> None:
        client = start(*QUICK, "--core-size", "20")
        receiver.may_answer.clear()
        ids = [submit(client, n, n + 1, notifyHook=receiver.url) for n in range(4)]
        for task_id in ids:
            finished(client, task_id)
        assert client.get("/sandbox/stats").json()["callbacks"]["waiting"] == 10
        began = time.monotonic()
        assert box.stop() == 0
        assert time.monotonic() - began < 2
        receiver.may_answer.set()
        box.start()

    def test_behind_a_gateway_there_are_none(self, start: Start, receiver: Receiver) -> None:
        client = start(*QUICK, "--personality", "gateway")
        finished(client, submit(client, notifyHook=receiver.url))
        assert receiver.tasks.empty()
        assert client.get("/sandbox/stats").json()["callbacks"]["delivered"] == 0


class TestFailures:
    def test_tasks_fail_with_a_reason(self, start: Start) -> None:
        client = start(*QUICK, "--fail-tasks", "1")
        assert finished(client, submit(client), "FAILURE")["failReason"]

    def test_a_failure_may_turn_into_a_success(self, start: Start, receiver: Receiver) -> None:
        client = start("--speed", "20", "--task-seconds", "5", "10", "--flip-failures")
        task_id = submit(client, notifyHook=receiver.url)
        assert receiver.until("FAILURE")[-1]["failReason"] == "任务超时"
        assert finished(client, task_id)["imageUrl"]

    def test_links_expire_until_a_fresh_fetch(self, start: Start, receiver: Receiver) -> None:
        client = start(*QUICK, "--expire-links", "once")
        task_id = submit(client, notifyHook=receiver.url)
        called_back = receiver.until("SUCCESS")[-1]["imageUrl"]
        assert httpx.get(called_back).status_code == 403
        fresh = fetch(client, task_id)["imageUrl"]
        assert httpx.get(fresh).status_code == 200
        fetch(client, task_id)
        assert httpx.get(fresh).status_code == 200
        client.post("/sandbox/faults", json={"expire_links": True})
        newest = fetch(client, task_id)["imageUrl"]
        assert [httpx.get(link).status_code for link in (fresh, newest)] == [403, 200]

    def test_neighbours_get_each_others_pictures(self, start: Start) -> None:
        client = start(*QUICK, "--swap-pictures")
        ids = [submit(client, 1, 2), submit(client, 3, 4)]
        made = [Image.open(io.BytesIO(httpx.get(finished(client, i)["imageUrl"]).content)).info for i in ids]
        inputs = [info["blendq-sandbox-inputs"].split(",") for info in made]
        assert inputs == [[hashlib.sha256(png(n)).hexdigest() for n in pair] for pair in ((3, 4), (1, 2))]

    def test_a_task_shows_the_picture_of_another(self, start: Start) -> None:
        client = start(*QUICK, "--share-pictures")
        links = {finished(client, submit(client, *pair))["imageUrl"] for pair in ((1, 2), (3, 4), (5, 6))}
        assert len(links) == 1

    def test_pictures_are_spoiled_for_a_while_or_for_good(self, start: Start) -> None:
        client = start(*QUICK)
        whole = finished(client, submit(client, 1, 2))["imageUrl"]
        true = httpx.get(whole).content
        for spoil, check in SPOILED.items():
            client.post("/sandbox/faults", json={"spoil_pictures": spoil})
            assert check(httpx.get(whole), true), spoil
        client.post("/sandbox/faults", json={"spoil_pictures": "", "spoil_for_good": "empty"})
        lost = finished(client, submit(client, 3, 4))["imageUrl"]
        client.delete("/sandbox/faults")
        assert httpx.get(whole).content == true
        assert httpx.get(lost).content == b""

    def test_questions_may_fail_too(self, start: Start) -> None:
        client = start(*STUCK, "--fail-queries", "1")
        assert client.get("/mj/task/1/fetch").status_code >= 500


def _bomb(answer: httpx.Response) -> bool:
    width, height = struct.unpack_from(">II", answer.content, 16)  # a PNG says it there
    return len(answer.content) < 1 << 20 and width * height > 1 << 29


# Each with how it is known: (answer, true picture).
SPOILED: dict[str, Callable[[httpx.Response, bytes], bool]] = {
    "truncated": lambda answer, true: 0 < len(answer.content) < len(true) and true.startswith(answer.content),
    "wrong-type": lambda answer, _: answer.content.startswith(b"%PDF"),
    "html": lambda answer, _: answer.headers["content-type"].startswith("text/html"),
    "empty": lambda answer, _: answer.content == b"",
    "bomb": lambda answer, _: _bomb(answer),
    "redirect": lambda answer, _: answer.has_redirect_location,
    "expired": lambda answer, _: answer.status_code == 403,
}


class TestQuestions:
    def test_unknown_tasks_in_each_familys_manner(self, tmp_path: Path) -> None:
        said = {}
        for personality in ("open-source", "plus", "community", "gateway"):
            home = tmp_path / personality
            home.mkdir()
            with Sandbox(home, "--personality", personality) as one:
                answer = httpx.get(f"{one.url}/mj/task/1/fetch")
                said[personality] = (answer.status_code, answer.text)
                assert httpx.post(f"{one.url}/mj/task/list-by-condition", json={"ids": ["1"]}).json() == []
                one.stop()
        assert said == {
            "open-source": (200, ""),
            "plus": (200, "null"),
            "community": (204, ""),
            "gateway": (400, '{"description":"task_no_found ","type":"upstream_error","code":4}'),
        }

    @pytest.mark.parametrize(
        ("personality", "missing"),
        [
            ("open-source", ["POST task/query", "POST task/1/cancel", "POST submit/action", "POST account/query"]),
            ("plus", ["POST task/list-by-ids", "GET account/list"]),
            ("community", ["POST task/query", "GET task/queue", "POST account/query"]),
            ("gateway", ["POST task/query", "GET task/list", "GET task/queue", "POST task/1/cancel"]),
        ],
    )
    def test_calls_that_a_family_has_not(self, start: Start, personality: str, missing: list[str]) -> None:
        client = start("--personality", personality)
        for call in missing:
            method, _, path = call.partition(" ")
            answer = client.request(method, f"/mj/{path}", json={} if method == "POST" else None)
            assert answer.status_code == 404, call
            if personality == "gateway":
                assert "Invalid URL" in answer.json()["error"]["message"]

    def test_plus_finds_a_task_by_its_state(self, start: Start) -> None:
        client = start(*STUCK, "--personality", "plus", "--core-size", "9")
        ids = [submit(client, state=f"job{n}/1/mac") for n in range(5)]
        page = client.post("/mj/task/query", json={"state": "job3/1/mac", "pageNumber": 0, "pageSize": 10}).json()
        assert [task["id"] for task in page["content"]] == [ids[3]]
        assert (page["totalElements"], page["last"]) == (1, True)
        page = client.post("/mj/task/query", json={"pageNumber": 1, "pageSize": 2, "sort": "id,asc"}).json()
        assert [task["id"] for task in page["content"]] == sorted(ids)[2:4]
        assert page["totalPages"] == 3
        narrowed = client.post("/mj/task/query", json={"ids": ids[:2], "statusSet": ["SUCCESS"]}).json()
        assert narrowed["content"] == []
        assert len(client.get("/mj/task/list").json()) == 5
        listed = client.post("/mj/task/list-by-condition", json={"ids": [ids[2], "nobody", ids[0]]}).json()
        assert [task["id"] for task in listed] == [ids[2], ids[0]]
        assert client.post("/mj/account/query", json={}).json()["content"][0]["coreSize"] == 9

    @pytest.mark.parametrize(("personality", "status"), [("plus", "CANCEL"), ("community", "FAILURE")])
    def test_cancelling_makes_room(self, start: Start, receiver: Receiver, personality: str, status: str) -> None:
        client = start(*STUCK, "--personality", personality, "--core-size", "1")
        running, waiting = submit(client, notifyHook=receiver.url), submit(client)
        assert fetch(client, waiting)["status"] == "NOT_START"
        assert client.post(f"/mj/task/{running}/cancel").json() == {"code": 1, "description": "成功"}
        assert fetch(client, running)["status"] == status
        assert receiver.until(status)
        wait_for(lambda: fetch(client, waiting)["status"] != "NOT_START")
        assert client.post(f"/mj/task/{running}/cancel").json()["code"] == 4
        assert client.post("/mj/task/1/cancel").json()["code"] == 3

    def test_one_variant_by_itself(self, start: Start) -> None:
        client = start(*QUICK, "--personality", "plus")
        grid = finished(client, submit(client))
        assert client.get(f"/mj/task/{grid['id']}/image-seed").json()["result"].isdigit()
        button = next(b for b in grid["buttons"] if b["label"] == "U2")
        answer = client.post(
            "/mj/submit/action", json={"taskId": grid["id"], "customId": button["customId"], "state": "up"}
        ).json()
        upscaled = finished(client, str(answer["result"]))
        assert (upscaled["action"], upscaled["state"], upscaled["buttons"]) == ("UPSCALE", "up", [])
        whole, one = (Image.open(io.BytesIO(httpx.get(task["imageUrl"]).content)) for task in (grid, upscaled))
        assert whole.crop((256, 0, 512, 256)).tobytes() == one.tobytes()

    def test_change_is_the_older_way_and_an_upscale_exists_once(self, start: Start) -> None:
        client = start(*QUICK)
        grid = finished(client, submit(client))
        change = {"taskId": grid["id"], "action": "UPSCALE", "index": 1}
        first, second = (client.post("/mj/submit/change", json=change).json() for _ in range(2))
        assert (first["code"], second["code"]) == (1, 21)
        assert second["result"] == first["result"]
        rerolled = client.post("/mj/submit/change", json={"taskId": grid["id"], "action": "REROLL"}).json()
        other = finished(client, rerolled["result"])
        assert httpx.get(other["imageUrl"]).content != httpx.get(grid["imageUrl"]).content
        assert client.post("/mj/submit/change", json=change | {"taskId": "1"}).json()["code"] == 3
        assert client.post("/mj/submit/change", json=change | {"index": 5}).json()["code"] == 4


class TestRestarts:
    def test_killed_and_started_again_it_goes_on(self, start: Start, box: Sandbox) -> None:
        client = start(*STUCK, "--core-size", "1")
        ids = [submit(client, n, n + 1, state=f"j{n}/1/m") for n in range(3)]
        box.kill()
        client = start(*QUICK, "--core-size", "1")
        for task_id in ids:
            finished(client, task_id)
        assert len(client.get("/sandbox/ledger").json()["accepted"]) == 3
        assert submit(client, 9, 9) not in ids

    def test_a_restart_may_forget_the_tasks_but_never_the_ledger(self, start: Start, box: Sandbox) -> None:
        client = start(*QUICK)
        task = finished(client, submit(client))
        assert box.stop() == 0
        client = start(*QUICK, "--forget")
        assert client.get(f"/mj/task/{task['id']}/fetch").text == ""
        assert len(client.get("/sandbox/ledger").json()["accepted"]) == 1
        assert httpx.get(task["imageUrl"]).status_code == 200

    def test_it_may_forget_at_any_time(self, start: Start) -> None:
        client = start(*STUCK, "--core-size", "1")
        ids = [submit(client) for _ in range(2)]
        assert client.post("/sandbox/forget").json() == {"forgotten": 2}
        assert client.post("/mj/task/list-by-condition", json={"ids": ids}).json() == []
        newest = submit(client)
        wait_for(lambda: fetch(client, newest)["status"] == "SUBMITTED")  # the core is free again
        assert len(client.get("/sandbox/ledger").json()["accepted"]) == 3

    def test_one_data_directory_has_one_owner(self, start: Start, box: Sandbox, tmp_path: Path) -> None:
        start()
        second = Sandbox(tmp_path / "second")
        second.directory.mkdir()
        with pytest.raises(RuntimeError, match="did not start"):
            second.start("--data-dir", str(box.directory / "data"))

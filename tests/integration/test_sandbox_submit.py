"""The sandbox as a process: submissions, answers, and what they leave in the ledger."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.integration.sandboxes import Sandbox

Start = Callable[..., httpx.Client]
QUICK = ("--speed", "100", "--task-seconds", "1", "2")
STUCK = ("--task-seconds", "5000", "5000")


def png(number: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 16), (number % 256, number // 256, 9)).save(out, "PNG")
    return out.getvalue()


def blend(*numbers: int, **more: Any) -> dict[str, Any]:
    urls = [f"data:image/png;base64,{base64.b64encode(png(n)).decode()}" for n in numbers or (1, 2)]
    return {"base64Array": urls, "botType": "MID_JOURNEY", "dimensions": "SQUARE"} | more


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a sandbox with the given flags; returns a client of it."""
    box: Sandbox | None = None
    clients: list[httpx.Client] = []

    def run(*flags: str) -> httpx.Client:
        nonlocal box
        box = Sandbox(tmp_path, *flags).start()
        clients.append(httpx.Client(base_url=box.url, timeout=20))
        return clients[-1]

    yield run
    for client in clients:
        client.close()
    if box is not None:
        assert box.stop() == 0, box.printed()
        assert "Traceback" not in box.printed()


def submit(client: httpx.Client, *numbers: int, **more: Any) -> dict[str, Any]:
    answer = client.post("/mj/submit/blend", json=blend(*numbers, **more))
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def ledger(client: httpx.Client) -> dict[str, Any]:
    told: dict[str, Any] = client.get("/sandbox/ledger").json()
    return told


def faults(client: httpx.Client, **changes: Any) -> None:
    client.post("/sandbox/faults", json=changes).raise_for_status()


def test_cores_then_queue_then_full(start: Start) -> None:
    client = start(*STUCK, "--core-size", "1", "--queue-size", "2")
    told = [submit(client, n, n + 1) for n in range(4)]
    assert [answer["code"] for answer in told] == [1, 22, 22, 23]
    assert [told[n]["properties"]["numberOfQueues"] for n in (1, 2)] == [1, 2]
    assert told[1]["description"] == "排队中，前面还有1个任务"
    assert told[3]["result"] is None
    assert [entry["task_id"] for entry in ledger(client)["accepted"]] == [a["result"] for a in told[:3]]
    assert ledger(client)["answers"] == {"1": 1, "22": 2, "23": 1}
    assert [task["id"] for task in client.get("/mj/task/queue").json()] == [a["result"] for a in told[1:3]]

    assert len(client.get("/sandbox/ledger?since=2").json()["accepted"]) == 1
    client.post("/sandbox/accounts", json={"accounts": 2, "core_size": 2}).raise_for_status()
    assert submit(client, 7, 8)["code"] == 1
    assert client.get("/mj/account/list").json()[0]["coreSize"] == 2


def test_the_open_source_server_counts_only_the_others(start: Start) -> None:
    client = start(*STUCK, "--core-size", "1", "--late-22")
    assert [submit(client)["description"] for _ in range(3)] == ["提交成功", "提交成功", "排队中，前面还有1个任务"]


def test_the_ledger_names_who_paid_for_what(start: Start) -> None:
    client = start(*STUCK, "--personality", "gateway")
    hook = "http://127.0.0.1:9/hooks/job-a/2/mac"
    task_id = str(submit(client, 3, 4, notifyHook=hook, state="job-a/2/mac mine")["result"])
    (entry,) = ledger(client)["accepted"]
    assert entry | {"at": ""} == {
        "at": "",
        "token": "job-a/2",
        "task_id": task_id,
        "state": "job-a/2/mac mine",
        "notify_hook": hook,
        "inputs": [hashlib.sha256(png(n)).hexdigest() for n in (3, 4)],
        "personality": "gateway",
        "action": "BLEND",
        "options": {"botType": "MID_JOURNEY", "dimensions": "SQUARE"},
    }
    task = client.get(f"/mj/task/{task_id}/fetch").json()
    assert (task["state"], task["properties"]["notifyHook"]) == ("", None)


@pytest.mark.parametrize("prefix", ["/mj-fast", "/mj-relax", "/mj-turbo"])
def test_a_mode_may_stand_in_the_path(start: Start, prefix: str) -> None:
    client = start(*STUCK)
    answer = client.post(f"{prefix}/mj/submit/blend", json=blend()).json()
    assert client.get(f"{prefix}/mj/task/{answer['result']}/fetch").json()["status"] in (
        "NOT_START",
        "SUBMITTED",
    )


def test_refusals_and_their_codes(start: Start) -> None:
    client = start(*STUCK)
    assert submit(client, dimensions=None)["code"] == 4
    assert submit(client, base64Array=["data:image/png;base64,aGVsbG8="] * 2)["code"] == 4
    assert submit(client, instanceId="nobody")["code"] == 3
    assert submit(client, accountFilter={"instanceId": "nobody"})["code"] == 3
    assert submit(client, state="x sandbox:banned")["properties"]["bannedWord"]
    codes = {mark: submit(client, state=f"sandbox:{mark}")["code"] for mark in ("banned", "error", "full")}
    assert codes == {"banned": 24, "error": 9, "full": 23}
    for fault, code in {"no_account": 3, "banned": 24, "queue_full": 23, "internal_error": 9, "quota": 4}.items():
        client.delete("/sandbox/faults").raise_for_status()
        faults(client, **{fault: True})
        assert submit(client)["code"] == code, fault
    assert client.post("/mj/submit/blend", content=b"[]").status_code == 400
    assert ledger(client)["accepted"] == []


def test_code_21_names_a_task_that_exists(start: Start) -> None:
    client = start(*STUCK)
    first = submit(client, 5, 6)
    assert first["code"] == 1
    again = submit(client, 5, 6, state="sandbox:existed")
    faults(client, existed=True)
    other = submit(client, 7, 8)
    assert (other["code"], submit(client, 7, 8)["result"]) == (21, other["result"])
    assert (again["code"], again["result"]) == (21, first["result"])
    assert len({entry["task_id"] for entry in ledger(client)["accepted"]}) == len(ledger(client)["accepted"])


def raw_request(body: bytes, length: int) -> bytes:
    head = ("POST /mj/submit/blend HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {length}", "", "")
    return "\r\n".join(head).encode() + body


def connect(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=20)


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.mark.parametrize("missing", [1, 20, 10_000])
def test_a_body_that_does_not_arrive_whole_is_not_accepted(start: Start, missing: int) -> None:
    client = start(*STUCK)
    body = json.dumps(blend(state="x" * 200)).encode()
    with connect(client) as wire:
        wire.sendall(raw_request(body[: max(0, len(body) - missing)], len(body)))
    wait_for(lambda: ledger(client)["incomplete_bodies"] == 1)
    assert ledger(client)["accepted"] == []
    assert ledger(client)["answers"] == {}


def test_a_whole_body_is_accepted_though_nobody_waits_for_the_answer(start: Start) -> None:
    client = start(*STUCK)
    body = json.dumps(blend()).encode()
    for number in range(10):
        with connect(client) as wire:
            wire.sendall(raw_request(body, len(body)))
        wait_for(lambda: len(ledger(client)["accepted"]) == number + 1)  # noqa: B023 - called before the next round
    assert ledger(client)["incomplete_bodies"] == 0


def test_the_last_byte_decides(start: Start) -> None:
    client = start(*STUCK)
    body = json.dumps(blend()).encode()
    with connect(client) as wire:
        wire.sendall(raw_request(body[:-1], len(body)))
        assert client.get("/sandbox/stats").json()["accepted"] == 0
        wire.sendall(body[-1:])
        answer = wire.makefile("rb").read()
    assert b'"code":1' in answer
    assert len(ledger(client)["accepted"]) == 1


def test_answers_that_get_lost_after_acceptance(start: Start) -> None:
    client = start(*STUCK, "--lose-answer", "1")
    with pytest.raises(httpx.RemoteProtocolError):
        submit(client)
    faults(client, lose_answer=0, fail_5xx_after=1)
    assert client.post("/mj/submit/blend", json=blend()).status_code >= 500
    faults(client, fail_5xx_after=0, lose_in_gateway=1)
    told = [client.post("/mj/submit/blend", json=blend()).json() for _ in range(2)]
    assert [(t["code"], t["description"].strip()) for t in told] == [
        (5, "do_request_failed"),
        (4, "insert_midjourney_task_failed"),
    ]
    assert len(ledger(client)["accepted"]) == 4


def test_answers_that_say_nothing_was_accepted(start: Start) -> None:
    client = start(*STUCK, "--fail-5xx", "1")
    assert client.post("/mj/submit/blend", json=blend()).status_code >= 500
    faults(client, fail_5xx=0, rate_limit=True)
    assert client.post("/mj/submit/blend", json=blend()).status_code == 429
    faults(client, rate_limit=False, html_answers=True)
    assert client.post("/mj/submit/blend", json=blend()).text.startswith("<!DOCTYPE html>")
    assert ledger(client)["accepted"] == []


def test_an_answer_that_takes_long_is_accepted_all_the_same(start: Start) -> None:
    client = start(*STUCK, "--hang-seconds", "3600")
    with pytest.raises(httpx.ReadTimeout):
        client.post("/mj/submit/blend", json=blend(), timeout=httpx.Timeout(20, read=0.3))
    wait_for(lambda: len(ledger(client)["accepted"]) == 1)


@pytest.mark.parametrize("personality", ["open-source", "plus", "community", "gateway", "again"])
def test_the_wrong_key_is_401_in_the_familys_manner(start: Start, personality: str) -> None:
    client = start(*STUCK, "--personality", personality, "--api-key", "right", "--again-times", "0")
    refused = client.post("/mj/submit/blend", json=blend(), headers={"mj-api-secret": "wrong"})
    assert refused.status_code == 401
    manners = {
        "open-source": "",
        "plus": "Unauthorized",
        "community": "未登录",
        "gateway": '{"error":',
        "again": "<html>",
    }
    assert manners[personality] in refused.text
    assert client.get("/mj/task/1/fetch").status_code == 401
    right = {"mj-api-secret": "right"}
    assert client.post("/mj/submit/blend", json=blend(), headers=right).json()["code"] == 1
    both = client.post("/mj/submit/blend", json=blend(), headers=right | {"Authorization": "Bearer right"})
    assert both.status_code == (401 if personality == "community" else 200)
    faults(client, refuse_key=True)
    assert client.post("/mj/submit/blend", json=blend(), headers=right).status_code == 401


def test_plus_answers_ids_as_bare_integers_too(start: Start) -> None:
    client = start(*STUCK, "--personality", "plus", "--core-size", "40", "--seed", "1")
    results = [submit(client)["result"] for _ in range(20)]
    assert {type(result) for result in results} == {int, str}
    for result in results:
        assert client.get(f"/mj/task/{result}/fetch").json()["id"] == str(result)


def test_again_means_not_taken(start: Start) -> None:
    client = start(*STUCK, "--personality", "again", "--again-times", "3", "--core-size", "1")
    told = [submit(client, state=f"s{n}", notifyHook=f"http://127.0.0.1:9/{n}") for n in range(8)]
    assert [answer["code"] for answer in told] == [22, 22, 22, 1] * 2
    with_ids = [answer["result"] for answer in told[:3]]
    assert [result is None for result in with_ids] == [True, False, True]
    assert client.get(f"/mj/task/{with_ids[1]}/fetch").text == "null"
    assert submit(client, 8, 9)["code"] == 22
    assert len(ledger(client)["accepted"]) == 2


def test_gateways_say_1_where_others_say_22(start: Start) -> None:
    client = start(*STUCK, "--personality", "gateway", "--core-size", "1")
    assert [submit(client)["code"] for _ in range(3)] == [1, 1, 1]
    assert submit(client, accountFilter={"instanceId": "nobody"})["code"] == 1
    faults(client, quota=True)
    refused = client.post("/mj/submit/blend", json=blend())
    assert (refused.status_code, refused.json()["code"]) == (400, 4)
    assert refused.json()["description"].strip() == "quota_not_enough"


def test_two_jobs_may_be_told_one_id(start: Start) -> None:
    client = start(*STUCK, "--duplicate-ids")
    first, second = submit(client, 1, 2), submit(client, 3, 4)
    assert first["result"] == second["result"]
    assert len(ledger(client)["accepted"]) == 2


def test_unknown_faults_are_refused_and_known_ones_shown(start: Start) -> None:
    client = start(*STUCK)
    assert client.post("/sandbox/faults", json={"nonsense": 1}).status_code == 400
    assert client.post("/sandbox/accounts", json={"accounts": -1}).status_code == 400
    faults(client, drop_callbacks=0.25)
    assert client.get("/sandbox/faults").json()["drop_callbacks"] == 0.25
    assert not any(client.delete("/sandbox/faults").json().values())


def test_two_hundred_at_once_are_all_accepted_once(start: Start) -> None:
    client = start(*QUICK, "--accounts", "20", "--queue-size", "500")
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda n: submit(client, n, n + 1, state=f"j{n}/1/m"), range(200)))
    ids = {str(answer["result"]) for answer in told}
    accepted = ledger(client)["accepted"]
    assert len(ids) == len(accepted) == 200
    assert {entry["token"] for entry in accepted} == {f"j{n}/1" for n in range(200)}
    wait_for(lambda: client.get("/sandbox/stats").json()["tasks"] == {"SUCCESS": 200})


def test_a_kept_connection_answers_at_once(start: Start) -> None:
    client = start(*STUCK)
    seconds = sorted(client.get("/sandbox/faults").elapsed.total_seconds() for _ in range(200))
    # Nagle against a delayed acknowledgement costs 40 ms each time, but for the first ones on a connection (some 16
    # segments are acknowledged at once); a busy machine costs more now and then.
    assert seconds[40] < 0.035


def test_a_taken_port_is_one_clear_line(start: Start, tmp_path: Path) -> None:
    client = start()
    second = subprocess.run(
        [sys.executable, "-m", "ops.sandbox", "--port", str(client.base_url.port)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    assert second.returncode == 2
    assert len(second.stderr.splitlines()) == 1
    assert str(client.base_url.port) in second.stderr

"""POST /v1/jobs:batch: a line of answer for each line, in order, as they come; bad ones hold up none of the others."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from jobs.settings import Settings
from producer import Producer
from tests.integration.service import Service, problem, serving

NDJSON = {"Content-Type": "application/x-ndjson"}
LIMIT = 20_000


@pytest.fixture(scope="module")
def service(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(stack, tmp_path_factory.mktemp("api"), BLENDQ_SERVICE_MAX_BODY_BYTES=str(LIMIT)) as made:
        yield made


def send(service: Service, content: Any) -> list[dict[str, Any]]:
    answer = service.http.post("/v1/jobs:batch", content=content, headers=NDJSON)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson"), answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_line_each_in_order_and_errors_in_their_places(service: Service, blends: Producer) -> None:
    images = [service.upload(), service.upload()]
    good = {"images": images, "custom_id": "a"}
    lines = [
        json.dumps(good),
        "{nonsense",
        json.dumps({"images": images, "campaign": "other"}),
        "",
        json.dumps({"images": [images[0], "/etc/passwd"]}),
        json.dumps({"images": [images[0], "sha256:" + "0" * 64]}),
        json.dumps({"images": images, "campaign": "a/b"}),
        json.dumps({"images": images, "idempotency_key": "k"}),
        json.dumps({"images": images, "idempotency_key": "k", "dimensions": "SQUARE"}),
        json.dumps({"images": images, "idempotency_key": "k", "dimensions": "PORTRAIT"}),
        json.dumps({"images": images, "idempotency_key": "a b"}),
        json.dumps({"images": images, "state": "x" * LIMIT}),
        json.dumps(good),
    ]
    told = send(service, "\n".join(lines).encode())
    assert [one["line"] for one in told] == [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13]
    codes = {one["line"]: one["error"]["code"] for one in told if "error" in one}
    assert codes == {
        2: "json", 5: "picture", 6: "picture", 7: "usage", 10: "idempotency_conflict", 11: "invalid_request",
        12: "too_large",
    }  # fmt: skip
    ids = {one["line"]: one["id"] for one in told if "id" in one}
    assert (ids[1] == ids[13], ids[8] == ids[9], len(set(ids.values()))) == (True, True, 3)
    assert (blends.get(ids[1]).campaign, blends.get(ids[3]).campaign) == ("default", "other")
    assert blends.get(ids[1]).request.custom_id == told[0]["custom_id"] == "a"


def test_thousands_by_one_who_reads_nothing_before_all_is_sent(service: Service, blends: Producer) -> None:
    images = [service.upload() for _ in range(60)]
    pairs = [(first, second) for first in images for second in images]
    body = "".join(json.dumps({"images": pair, "campaign": "many"}) + "\n" for pair in pairs).encode()
    told = send(service, body)
    assert [one["line"] for one in told] == list(range(1, len(pairs) + 1))
    found = blends.store.find_many([one["id"] for one in told])
    assert [job and job.request.images for job in found] == pairs
    assert send(service, (body[at : at + 1000] for at in range(0, len(body), 1000))) == told


def connected(service: Service) -> socket.socket:
    where = urlsplit(service.url)
    return socket.create_connection((where.hostname, where.port), timeout=60)


def test_each_is_answered_while_others_are_still_to_come(service: Service) -> None:
    """Whoever makes jobs slowly learns of each at once: no answer is waited for that cannot come."""
    line = json.dumps({"images": [service.upload(), service.upload()]}).encode() + b"\n"
    where = urlsplit(service.url)
    with (
        socket.create_connection((where.hostname, where.port), timeout=60) as connection,
        connection.makefile("rb") as file,
    ):
        head = "POST /v1/jobs:batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for number in (1, 2):
            connection.sendall(b"%x\r\n%s\r\n" % (len(line), line))
            while not (got := file.readline()).startswith(b"{"):
                assert got, "hung up"
            assert json.loads(got)["line"] == number
        connection.sendall(b"0\r\n\r\n")


def test_a_batch_must_say_that_it_is_one(service: Service) -> None:
    problem(service.http.post("/v1/jobs:batch", json={}), 415, "media_type")


def test_nothing_is_lost_when_the_caller_hangs_up(service: Service, blends: Producer) -> None:
    """I1: what was answered is durable, and the process goes on."""
    line = json.dumps({"images": [service.upload(), service.upload()]}).encode() + b"\n"
    where = urlsplit(service.url)
    with (
        socket.create_connection((where.hostname, where.port), timeout=60) as connection,
        connection.makefile("rb") as file,
    ):
        head = "POST /v1/jobs:batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
        connection.sendall(f"{head}Content-Length: 1000000\r\n\r\n".encode() + line)
        while not (got := file.readline()).startswith(b"{"):
            assert got, "hung up"
    assert blends.get(json.loads(got)["id"]).status == "waiting"
    assert service.http.get("/readyz").status_code == 200

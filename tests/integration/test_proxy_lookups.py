"""ProxyClient asks: what is told of tasks, by id, in lists and by state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from jobs.errors import UsageError
from tests.integration.misbehaving import WAIT_SECONDS, Stage, take
from worker.proxy.client import Timeouts
from worker.proxy.lookups import Cancelled, CannotTell, Found, NoSuchCall


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(stack, tmp_path)


# Lookups.


@pytest.mark.parametrize("task_id", ["7", "..", "a/../../b", "a b?c#d%2F", "任务"])
def test_a_task_id_stays_one_segment_of_the_path(stage: Stage, task_id: str) -> None:
    server = stage.server(take({"id": task_id, "status": "SUCCESS"}), take({"code": 1}))
    with stage.client(server.url) as client:
        assert isinstance(client.fetch(task_id), Found)
        server.wait_for_ends()
        assert client.cancel(task_id) == Cancelled()
    fetch, cancel = (connection.request_line.split(" ")[1] for connection in server.connections)
    assert fetch.count("/") == cancel.count("/") == 4
    assert fetch.removesuffix("fetch") == cancel.removesuffix("cancel")
    assert httpx.URL("http://a" + fetch).path == f"/mj/task/{task_id}/fetch"


def test_a_list_by_ids(stage: Stage) -> None:
    server = stage.server(take([{"id": "7", "status": "SUCCESS"}]))
    client = stage.client(server.url)
    found = client.list_by_ids(["7", "8"])
    assert isinstance(found, dict)
    assert list(found) == ["7"]
    assert json.loads(server.connections[0].body) == {"ids": ["7", "8"]}
    assert client.list_by_ids([]) == {}
    with pytest.raises(UsageError, match="100"):
        client.list_by_ids(["7"] * 101)
    assert len(server.connections) == 1


def test_finding_by_state_asks_query_then_the_list(stage: Stage) -> None:
    rows = [{"id": "7", "state": "token and more"}]
    query = stage.server(take({"content": rows}))
    assert isinstance(stage.client(query.url).find_by_state("token"), Found)
    assert json.loads(query.connections[0].body)["state"] == "token"
    without = stage.server(take(b"", 404), take(rows))
    assert isinstance(stage.client(without.url).find_by_state("token"), Found)
    assert without.connections[1].request_line.startswith("GET /mj/task/list ")
    neither = stage.server(take(b"", 405), take(b"", 404))
    assert stage.client(neither.url).find_by_state("token") == NoSuchCall()
    failing = stage.server(take(b"", 502))
    assert isinstance(stage.client(failing.url).find_by_state("token"), CannotTell)
    assert len(failing.connections) == 1


def test_a_long_list_is_read_and_a_longer_one_tells_nothing(stage: Stage) -> None:
    row = {"id": "7", "state": "token", "prompt": "x" * 1_000_000}
    timeouts = Timeouts(answer=WAIT_SECONDS)
    for count, expected in ((5, Found), (9, CannotTell)):
        server = stage.server(take([row] * count))
        assert type(stage.client(server.url, timeouts=timeouts).find_by_state("token")) is expected

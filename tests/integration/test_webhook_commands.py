"""`blendq webhook …`, on an embedded server; and the receiver of docs/webhooks.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs import events
from jobs.net.addresses import AddressRules
from jobs.net.outbound import Outbound
from jobs.net.signature import new_secret, signed_headers
from ops.cli import webhooks as commands
from producer import Producer
from tests.integration.commands import happen
from tests.integration.endpoint import Endpoint
from tests.integration.workbench import wait_for
from tests.ports import free_port
from worker.notify import Notifier

DOC = Path(__file__).parents[2] / "docs" / "webhooks.md"


@pytest.fixture
def working(blends: Producer) -> Iterator[None]:
    """What a worker's sweep does, again and again."""
    leaving = threading.Event()
    outbound = Outbound(AddressRules.of("127.0.0.0/8"), 2.0)
    notifier = Notifier(blends.store, outbound, (new_secret(),), leaving)

    def work() -> None:
        while not leaving.wait(0.02):
            notifier.look()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    leaving.set()
    thread.join()
    notifier.close()


def test_an_endpoint_is_added_shown_and_removed(call: Any, endpoint: Endpoint) -> None:
    added = call("webhook", "add", endpoint.url, "--campaign", "summer", "--events", "job.failed, job.parked", "--json")
    secret = added.json["secret"]
    assert secret.startswith("whsec_")
    webhook_id = added.json["id"]
    (listed,) = (one for one in call("webhook", "list", "--json").json if one["id"] == webhook_id)
    assert (listed["campaign"], listed["events"]) == ("summer", ["job.failed", "job.parked"])
    shown = [call("webhook", *words) for words in (("list",), ("list", "--json"), ("show", webhook_id))]
    shown.append(call("webhook", "remove", webhook_id))
    for done in shown:
        assert done.code == 0
        assert webhook_id in done.out
        assert secret not in done.out + done.err
        assert "sesame" not in done.out + done.err, "the address may carry a token"
    gone = call("webhook", "show", webhook_id)
    assert (gone.code, gone.out) == (1, "")
    assert webhook_id in gone.err


@pytest.mark.usefixtures("working")
def test_an_endpoint_is_tested_and_its_deliveries_are_shown(call: Any, endpoint: Endpoint) -> None:
    webhook_id = call("webhook", "add", endpoint.url, "--campaign", "nobodys", "--json").json["id"]
    assert "HTTP 200" in call("webhook", "test", webhook_id).out
    endpoint.will_answer(503)
    failed = call("webhook", "test", webhook_id, "--json")
    assert (failed.code, failed.json["delivery"]["status"]) == (1, 503)
    shown = call("webhook", "show", webhook_id)
    assert re.search(r"HTTP 503; again at 20.*Z  \d\.\d{3} s  msg_\w+\n.*HTTP 200  \d\.\d{3} s  msg_", shown.out)
    assert call("webhook", "rotate", webhook_id).out.count("whsec_") == 1
    endpoint.will_answer(410)
    call("webhook", "test", webhook_id)
    assert "410" in call("webhook", "list").out
    assert "enable" in call("webhook", "test", webhook_id).err
    assert "from now on" in call("webhook", "enable", webhook_id).out
    assert "HTTP 200" in call("webhook", "test", webhook_id).out
    call("webhook", "remove", webhook_id)


@pytest.mark.usefixtures("working")
def test_events_are_sent_again(call: Any, blends: Producer, pictures: list[str], endpoint: Endpoint) -> None:
    webhook_id = call("webhook", "add", endpoint.url, "--events", "job.cancelled", "--json").json["id"]
    job_id = call("submit", *pictures).out.strip()
    happen(blends, job_id, events.Cancel())
    wait_for(lambda: len(endpoint.ids) == 1, lambda: "not told")
    assert call("webhook", "replay", endpoint.ids[0]).out == "1 events are sent again\n"
    wait_for(lambda: len(endpoint.ids) == 2, lambda: "not told again")
    wait_for(lambda: blends.store.outbox.lanes() == [], lambda: "it is on its way")
    assert call("webhook", "replay", "--since", "2020-01-01T00:00", "--json").json["replayed"] >= 1
    wait_for(lambda: len(endpoint.ids) == 3, lambda: "not told again")
    assert len(set(endpoint.ids)) == 1
    call("webhook", "remove", webhook_id)


def test_a_test_that_nobody_sends_is_told(call: Any, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "TEST_WAIT_SECONDS", 0.05)
    webhook_id = call("webhook", "add", endpoint.url, "--json").json["id"]
    done = call("webhook", "test", webhook_id)
    assert done.code == 1
    assert "blendq up" in done.out
    call("webhook", "remove", webhook_id)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("add", "ftp://a.test"), "neither http nor https"),
        (("add", "https://u:sesame@a.test"), "user name"),
        (("add", "https://a.test", "--events", "job.born"), "no event 'job.born'; there are job.succeeded,"),
        (("add", "https://a.test", "--campaign", "no name"), "a name is"),
        (("test", "wh_none"), "no webhook wh_none"),
        (("replay",), "--since"),
        (("replay", "msg_1", "--since", "2030-01-01"), "--since"),
        (("replay", "msg_none"), "no event msg_none"),
        (("replay", "--since", "yesterday"), "is no time"),
    ],
)
def test_what_cannot_be_is_told(call: Any, words: tuple[str, ...], told: str) -> None:
    done = call("webhook", *words)
    assert done.code in (1, 2)
    assert told in done.err
    assert "sesame" not in done.err


def test_the_receiver_of_the_docs_verifies(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in program.splitlines() if line]) <= 15
    secret, port = new_secret(), free_port()
    environment = {**os.environ, "WEBHOOK_SECRET": secret, "PORT": str(port)}
    with (tmp_path / "out").open("w+") as out, (tmp_path / "err").open("w") as err:
        process = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=out, stderr=err)
        try:
            url, body = f"http://127.0.0.1:{port}/", b'{"type":"job.succeeded","data":{"id":"job_1"}}'

            def post(key: str) -> int:
                headers = dict(signed_headers([key], "msg_1", datetime.now(UTC), body))
                return httpx.post(url, content=body, headers=headers, timeout=20).status_code

            def listens() -> bool:
                try:
                    return post(new_secret()) == 401
                except httpx.TransportError:
                    return False

            wait_for(listens, (tmp_path / "err").read_text)
            assert post(secret) == 204
        finally:
            process.terminate()
            process.wait(20)
    assert (tmp_path / "out").read_text() == "msg_1 job.succeeded job_1\n"

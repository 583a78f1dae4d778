"""`blendq doctor`: every check, well and not well, on a real server, sandbox and receiver."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from jobs.epoch import Epoch
from jobs.events import Release
from jobs.keys import Keys
from jobs.policy import Policy
from jobs.request import Mode
from jobs.server import connect
from jobs.settings import Settings
from jobs.store import JobStore
from ops import doctor
from ops.doctor import examine
from ops.doctor_api import _is_local
from ops.embedded import EmbeddedServer
from ops.findings import Finding, Level, skew
from ops.ownership import Ownership
from tests.integration.listening import listening
from tests.integration.sandboxes import Sandbox
from tests.ports import free_port
from tests.unit.lifecycle_world import new_job

KEY = "key-of-the-doctors-test"


@pytest.fixture
def settings(server_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A server of one's own, since its configuration is changed."""
    monkeypatch.setattr(doctor, "WORKER_SECONDS", 0.3)
    found = Settings(data_dir=tmp_path / "data", min_free_disk_percent=0)
    with Ownership(found.data_dir) as owner, EmbeddedServer(found, owner):
        yield found


def findings(settings: Settings, **changes: Any) -> dict[str, Finding]:
    given = settings.model_dump(exclude_unset=True) | changes
    found = list(examine(Settings.model_validate(given)))
    assert all(one.advice for one in found if one.level is not Level.OK), "whatever is not right says what to do"
    return {one.name: one for one in found}


def test_a_server_as_it_must_be(settings: Settings) -> None:
    found = findings(settings)
    names = ("data folder", "redis", "redis version", "redis durability", "redis clock", "records", "submitting")
    assert {name: found[name].level for name in names} == dict.fromkeys(names, Level.OK)
    assert "Valkey" in found["redis version"].says
    assert found["workers"].level is Level.WRONG
    assert "blendq worker" in found["workers"].advice
    assert (found["api"].level, found["callbacks"].level) == (Level.WARNING, Level.WARNING)


@pytest.mark.parametrize(
    ("name", "value", "said"), [("maxmemory-policy", "allkeys-lru", "thrown away"), ("appendfsync", "no", "forget")]
)
def test_a_server_that_may_lose_records(settings: Settings, name: str, value: str, said: str) -> None:
    with connect(settings.redis_address()) as client:
        client.config_set(name, value)
    found = findings(settings)["redis durability"]
    assert (found.level, said in found.says) == (Level.WRONG, True)


def test_no_server_at_all(tmp_path: Path) -> None:
    found = findings(Settings(data_dir=tmp_path), redis_url="redis://:CanaryPassword@127.0.0.1:1/0")
    assert found["redis"].level is Level.WRONG
    assert "CanaryPassword" not in repr(found)
    assert "workers" not in found


def test_a_folder_that_cannot_be_written(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = findings(settings, data_dir=tmp_path / "file", redis_url=settings.redis_address())["data folder"]
    assert (found.level, "BLENDQ_DATA_DIR" in found.advice) == (Level.WRONG, True)


def test_a_full_disk(settings: Settings) -> None:
    found = findings(settings, min_free_disk_percent=99.99)["data folder"]
    assert (found.level, "make room" in found.advice) == (Level.WRONG, True)


def test_lost_records_and_a_pause(settings: Settings) -> None:
    with connect(settings.redis_address()) as client:
        keys = Keys()
        Epoch(client, keys, settings.data_dir).verify()
        JobStore(client, Policy()).circuit.pause("key", "HTTP 401", 60)
        client.delete(keys.epoch)
    found = findings(settings)
    assert (found["records"].level, found["submitting"].level) == (Level.WRONG, Level.WRONG)
    assert "HTTP 401" in found["submitting"].says


def test_each_of_several_apis_is_told_with_what_waits_for_none(settings: Settings, tmp_path: Path) -> None:
    """One is well, one refuses the key, one is no longer named though it has a job; and nobody serves a mode."""
    upstreams = [{"name": "one", "key": KEY}, {"name": "two", "key": "another-key-altogether"}]
    (tmp_path / "api").mkdir()
    with connect(settings.redis_address()) as client, Sandbox(tmp_path / "api", "--api-key", KEY) as api:
        store = JobStore(client, Policy())
        now = store.now()
        jobs = [new_job(id="job_1", created_at=now, due_at=now), new_job(id="job_2", created_at=now, due_at=now)]
        turbo = jobs[1].request.model_copy(update={"modes": (Mode.TURBO,)})
        store.create([jobs[0], jobs[1].but(request=turbo)])
        store.apply("job_1", Release("gone"))
        store.circuit.pause("quota", "empty", 60, "two")
        listed = [one | {"url": api.url, "modes": ["FAST"]} for one in upstreams]
        found = list(examine(Settings(data_dir=settings.data_dir, upstreams=listed)))
        store.circuit.resume("two")
    said = [(one.name, one.level, one.says) for one in found if one.name.startswith(("api o", "api t", "sub", "up"))]
    assert KEY not in str(said)
    assert [(name, level) for name, level, _ in said if "clock" not in name] == [
        ("submitting", Level.WRONG),
        ("upstreams", Level.WRONG),
        ("upstreams", Level.WRONG),
        ("api one", Level.OK),
        ("api two", Level.WRONG),
    ]
    assert "to two is paused (quota)" in said[0][2]
    assert "1 job of ours is under way at gone" in said[1][2]
    assert "wait for mode TURBO, and no API in the settings will do" in said[2][2]


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_wrong_is_told(hours: int) -> None:
    found = skew("api clock", datetime.now(UTC) + timedelta(hours=hours))
    assert (found.level, ("ahead" if hours < 0 else "behind") in found.says) == (Level.WARNING, True)


def test_the_api_and_its_key(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    with Sandbox(tmp_path / "api", "--api-key", KEY) as api:
        right = findings(settings, api_url=api.url, api_key=KEY)
        wrong = findings(settings, api_url=api.url, api_key="another-key-altogether")
        ledger = (tmp_path / "api").rglob("*")
        assert not any(path.suffix == ".png" for path in ledger), "nothing was asked for that costs"
    assert (right["api"].level, right["api clock"].level) == (Level.OK, Level.OK)
    assert (wrong["api"].level, "BLENDQ_API_KEY" in wrong["api"].advice) == (Level.WRONG, True)
    gone = findings(settings, api_url=api.url, api_key=KEY)["api"]
    assert gone.level is Level.WRONG
    assert KEY not in repr((right, wrong, gone))


class Odd(BaseHTTPRequestHandler):
    """A page of somebody else's."""

    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_POST()

    def do_HEAD(self) -> None:
        self.do_POST()

    def date_time_string(self, timestamp: float | None = None) -> str:
        """In UTC, of no zone in particular (RFC 5322, 3.3): "-0000"."""
        return format_datetime(datetime.now(UTC).replace(tzinfo=None))

    def log_message(self, *_: object) -> None:
        pass


def test_a_clock_of_no_zone_in_particular(settings: Settings) -> None:
    with HTTPServer(("127.0.0.1", 0), Odd) as api:
        thread = threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            clock = findings(settings, api_url=f"http://127.0.0.1:{api.server_port}", api_key=KEY)["api clock"]
        finally:
            api.shutdown()
            thread.join()
    assert clock.level is Level.OK


def test_the_way_back(settings: Settings, keys: Keys) -> None:
    nobody = findings(settings, public_url=f"http://127.0.0.1:{free_port()}")["callbacks"]
    assert (nobody.level, "blendq receiver" in nobody.advice) == (Level.WRONG, True)
    with listening(settings.model_copy(update={"receiver_port": 0}), keys) as receiver:
        right = findings(settings, public_url=f"http://127.0.0.1:{receiver.port}")["callbacks"]
    assert right.level is Level.OK
    with HTTPServer(("127.0.0.1", 0), Odd) as other:
        threading.Thread(target=other.handle_request).start()
        odd = findings(settings, public_url=f"http://127.0.0.1:{other.server_port}")["callbacks"]
    assert (odd.level, "HTTP 200" in odd.says) == (Level.WRONG, True)


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("10.0.0.7", True), ("receiver", True), ("hooks.example.com", False), ("8.8.8.8", False)],
)
def test_only_a_way_across_the_internet_must_be_encrypted(host: str, local: bool) -> None:
    assert _is_local(host) is local


def test_the_command(call: Any) -> None:
    done = call("doctor")
    assert done.code == 1
    assert "wrong    workers" in done.out
    told = call("doctor", "--json").json
    assert told["well"] is False
    assert {one["level"] for one in told["findings"]} == {"ok", "warning", "wrong"}

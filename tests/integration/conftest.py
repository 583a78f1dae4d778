"""Data folders, stores and producers; servers that have users; workers with their sandboxes, receivers, endpoints."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from PIL import Image

from jobs.keys import Keys
from jobs.net.addresses import AddressRules
from jobs.net.outbound import Outbound
from jobs.policy import Policy
from jobs.request import BlendRequest
from jobs.server import connect
from jobs.settings import Settings
from jobs.store import JobStore
from ops.cli import main
from ops.embedded import EmbeddedServer, hosting
from ops.ownership import Ownership
from producer import Producer
from tests.integration.attacking import Listen, receivers
from tests.integration.commands import Done
from tests.integration.endpoint import Endpoint, open_endpoint
from tests.integration.notifying import HERE, OWN_SECRET, Sender
from tests.integration.producing import png
from tests.integration.redis_users import GuardedServer, guarded_server
from tests.integration.sandboxes import Sandbox
from tests.integration.workbench import QUICK_TASKS, Open, Workbench, open_workbench
from worker import notify
from worker.notify import Notifier


@pytest.fixture(scope="module")
def stack(server_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """As `blendq up` holds a data folder, but without anything that works on the jobs."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("stack"))
    with Ownership(settings.data_dir) as owner, hosting(settings, owner, 5.0) as server:
        assert isinstance(server, EmbeddedServer)
        yield settings


@pytest.fixture
def blends(stack: Settings) -> Iterator[Producer]:
    with Producer(stack) as producer:
        yield producer


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Two pictures that no other test has."""
    names = []
    for number in range(2):
        file = io.BytesIO()
        Image.effect_noise((16, 16), 90).save(file, "PNG")
        (tmp_path / f"{number}.png").write_bytes(file.getvalue())
        names.append(str(tmp_path / f"{number}.png"))
    return names


@pytest.fixture
def call(stack: Settings, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*words: str, data_dir: Path = stack.data_dir) -> Done:
        capsys.readouterr()
        code = main([*words, "--data-dir", str(data_dir)])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return Done(code, out, err)

    return call


@pytest.fixture
def guarded(server_binary: Path) -> Iterator[GuardedServer]:
    """A server of this test alone, with the users of ops/redis-users.acl."""
    with guarded_server(server_binary) as server:
        yield server


@pytest.fixture
def open_bench(redis_url: str, keys: Keys, tmp_path: Path) -> Iterator[Open]:
    """Starts a sandbox with the given personality and flags, and a worker's context for it."""
    boxes: list[Sandbox] = []
    benches: list[Workbench] = []

    def run(personality: str = "plus", *flags: str, **settings: Any) -> Workbench:
        box = Sandbox(tmp_path, "--personality", personality, *(flags or QUICK_TASKS)).start()
        boxes.append(box)
        bench = open_workbench(redis_url, keys, tmp_path / "blendq", box.url, **settings)
        benches.append(bench)
        return bench

    yield run
    for bench in benches:
        bench.sandbox.close()
        bench.context.close()
    for box in boxes:
        box.kill()


@pytest.fixture
def listen(redis_url: str, keys: Keys, tmp_path: Path) -> Iterator[Listen]:
    """Starts receivers that can be attacked; they end with the test."""
    with receivers(redis_url, keys, tmp_path) as start:
        yield start


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    client = connect(redis_url)
    yield client
    client.close()


@pytest.fixture
def store(client: redis.Redis, keys: Keys) -> JobStore:
    return JobStore(client, Policy(), keys)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with open_endpoint() as made:
        yield made


@pytest.fixture
def sender(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sender]:
    """Makes notifiers that try again soon."""
    monkeypatch.setattr(notify, "BACKOFF_BASE_SECONDS", 0.05)
    made = []

    def make(rules: AddressRules = HERE, **options: Any) -> Notifier:
        made.append(Notifier(store, Outbound(rules, 2.0), (OWN_SECRET,), threading.Event(), **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def apart(redis_url: str, keys: Keys, tmp_path: Path) -> Iterator[Producer]:
    """A producer with key names and a data folder of this test alone."""
    with Producer(Settings(redis_url=redis_url, data_dir=tmp_path / "data"), keys) as producer:
        yield producer


@pytest.fixture
def digests(blends: Producer) -> list[str]:
    """Of many small pictures."""
    return [blends.images.put_bytes(png(shade), name="a").digest for shade in range(40)]


@pytest.fixture
def pair(digests: list[str]) -> BlendRequest:
    return BlendRequest(images=(digests[0], digests[1]))

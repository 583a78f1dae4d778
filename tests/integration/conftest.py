"""A data folder as `blendq up` holds it, and commands on it; and a server that has users."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from jobs.settings import Settings
from ops.cli import main
from ops.embedded import EmbeddedServer, hosting
from ops.ownership import Ownership
from producer import Producer
from tests.integration.commands import Done
from tests.integration.redis_users import GuardedServer, guarded_server


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

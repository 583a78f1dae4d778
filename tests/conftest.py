"""What many tests need: one real server for the whole run, and keys of their own in it."""

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from jobs.errors import StackError
from jobs.keys import Keys
from jobs.settings import Settings
from ops.embedded import EmbeddedServer
from ops.ownership import Ownership
from ops.server_program import find_binary

# An example takes as long as the machine lets it: what its time says of the code is nothing.
settings.register_profile("blendq", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("blendq")


def pytest_configure() -> None:
    """Compile once: with this variable set, as in many containers, each of some hundred processes compiles it all."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def no_server(problem: object) -> None:
    """A laptop without a server skips what needs one; CI must not go green without it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"no server: {problem}")
    pytest.skip(f"no server: {problem}")


@pytest.fixture(scope="session")
def server_binary() -> Path:
    """The server's program."""
    try:
        return find_binary()
    except StackError as problem:
        no_server(problem)
        raise


@pytest.fixture(scope="session")
def redis_url(server_binary: Path) -> Iterator[str]:
    """The address of a real server, started once for all tests. Use it with `keys`; never flush it."""
    with tempfile.TemporaryDirectory(prefix="blendq-test-") as folder:
        made = Settings(data_dir=Path(folder))
        with Ownership(made.data_dir) as owner, EmbeddedServer(made, owner):
            yield made.redis_address()


@pytest.fixture
def keys() -> Keys:
    """Key names of this test alone."""
    return Keys(prefix=f"test-{uuid.uuid4()}")


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of whoever runs the tests must not change what they show."""
    for name in [name for name in os.environ if name.startswith("BLENDQ_")]:
        monkeypatch.delenv(name)

"""A real server with the users of ops/redis-users.acl, as docker-compose.yml starts it; reached by TCP as there."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from jobs.server import connect
from ops.chaos.relay import Relay, RelayThread
from tests.integration.workbench import wait_for

OPS = Path(__file__).parents[2] / "ops"
ADMIN = "default"
PARTS = ("receiver", "producer", "worker", "beat", "flower")


def password(user: str) -> str:
    return f"{user}Password1"


def passwords() -> dict[str, str]:
    """As docker-compose.yml hands them to the server's container."""
    return {"REDISCLI_AUTH": password(ADMIN)} | {f"REDIS_{user.upper()}_PASSWORD": password(user) for user in PARTS}


def print_users(environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """ops/redis-users.sh, with these variables alone."""
    return subprocess.run(
        ["sh", str(OPS / "redis-users.sh")],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@dataclass(frozen=True)
class GuardedServer:
    """It lets in who has a name and a password."""

    port: int

    def url(self, user: str) -> str:
        return f"redis://{user}:{password(user)}@127.0.0.1:{self.port}/0"

    def client(self, user: str) -> redis.Redis:
        return connect(self.url(user))

    def answers(self) -> bool:
        try:
            with self.client(ADMIN) as admin:
                return bool(admin.ping())
        except redis.ConnectionError:
            return False

    def denied(self) -> list[str]:
        """What somebody tried and may not, since the last time this was asked."""
        with self.client(ADMIN) as admin:
            entries: list[dict[str, Any]] = admin.acl_log()
            admin.acl_log_reset()
        return [f"{entry['username']}: {entry['reason']} {entry['object']} ({entry['context']})" for entry in entries]


@contextmanager
def guarded_server(binary: Path) -> Iterator[GuardedServer]:
    """On a socket of its own, with a relay before it: a port that is looked for first may be taken by then."""
    users = print_users(passwords())
    assert users.returncode == 0, users.stderr
    with tempfile.TemporaryDirectory(prefix="blendq-test-") as folder, (Path(folder) / "log").open("w+") as log:
        socket = Path(folder) / "redis.sock"
        options = ["--dir", folder, "--port", "0", "--unixsocket", str(socket), "-"]
        process = subprocess.Popen(
            [str(binary), str(OPS / "redis.conf"), *options], stdin=subprocess.PIPE, stdout=log, stderr=log, text=True
        )
        relays = RelayThread()
        relay = Relay(relays, socket)
        try:
            assert process.stdin is not None
            process.stdin.write(users.stdout)
            process.stdin.close()
            server = GuardedServer(relay.port)
            wait_for(lambda: server.answers() or process.poll() is not None, lambda: "no server")
            assert process.poll() is None, (Path(folder) / "log").read_text()
            yield server
        finally:
            relay.close()
            relays.close()
            process.terminate()
            process.wait(20)

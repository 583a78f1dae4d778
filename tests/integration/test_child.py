"""One process of the stack: started, started again when it dies, given up when it cannot live."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.errors import PortInUse, StackError
from ops.child import MAX_DEATHS, Child
from ops.reaper import Reaper

ANNOUNCES = """
import pathlib, sys, time
print("here", flush=True)
pathlib.Path(sys.argv[1]).write_text("http://127.0.0.1:1")
time.sleep(600)
"""
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('x', flush=True); time.sleep(600)"


@pytest.fixture
def reaper() -> Iterator[Reaper]:
    made = Reaper()
    yield made
    made.close()


def child_of(folder: Path, reaper: Reaper, code: str) -> Child:
    command = [sys.executable, "-c", code, str(folder / "part.address")]
    return Child("part", command, dict(os.environ), folder=folder, reaper=reaper)


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_it_is_waited_for_until_it_announces_itself(tmp_path: Path, reaper: Reaper) -> None:
    (tmp_path / "part.address").write_text("of the last run")
    child = child_of(tmp_path, reaper, ANNOUNCES)
    child.start()
    child.wait_until_ready()
    assert child.alive
    assert child.announcement.read_text() == "http://127.0.0.1:1"
    assert child.watch() is None
    child.ask_to_end()
    child.end(10)
    assert not child.alive


def test_it_is_started_again_after_a_kill(tmp_path: Path, reaper: Reaper) -> None:
    child = child_of(tmp_path, reaper, ANNOUNCES)
    child.start()
    child.wait_until_ready()
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    until(lambda: not child.alive)
    assert "the part was killed by signal 9; starting it again" in str(child.watch())
    until(lambda: child.watch() is None and child.alive)
    assert child.pid != first
    child.wait_until_ready()
    assert child.log.read_text() == "here\nhere\n"


def test_it_is_given_up_with_the_end_of_its_log(tmp_path: Path, reaper: Reaper) -> None:
    child = child_of(tmp_path, reaper, "import sys; sys.exit('it cannot be')")
    child.start()
    said: list[str] = []

    def watch() -> bool:
        said.extend(filter(None, [child.watch()]))
        return False

    with pytest.raises(StackError, match=r"the part ended with exit code 1; its log .*\n  it cannot be"):
        until(watch, 60)
    assert len(said) == MAX_DEATHS - 1


def test_one_that_dies_while_it_starts_says_why(tmp_path: Path, reaper: Reaper) -> None:
    child = child_of(tmp_path, reaper, "import sys; sys.exit('blendq: error: the part cannot listen on :1; move')")
    child.start()
    with pytest.raises(PortInUse, match=r"^the part cannot listen on :1; move$"):
        child.wait_until_ready()


def test_one_that_does_not_listen_to_sigterm_is_killed(tmp_path: Path, reaper: Reaper) -> None:
    child = child_of(tmp_path, reaper, STUBBORN)
    child.start()
    until(child.log.read_text)
    child.ask_to_end()
    child.end(0.2)
    assert not child.alive


def test_the_log_before_is_kept(tmp_path: Path, reaper: Reaper) -> None:
    for _ in range(2):
        child = child_of(tmp_path, reaper, ANNOUNCES)
        child.start()
        child.wait_until_ready()
        child.ask_to_end()
        child.end(10)
    assert [path.read_text() for path in (child.log, tmp_path / "part.log.1")] == ["here\n", "here\n"]

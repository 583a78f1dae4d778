"""Nothing outlives the command that started it. Every process here is the test's own, and ended by its id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.reaper import Reaper

# A command that starts a child as blendq does, says both ids, and waits to be killed.
COMMAND = """
import subprocess, sys, time
from ops.reaper import Reaper
reaper = Reaper()
child = reaper.spawn([sys.executable, "-c", sys.argv[1]], output=subprocess.DEVNULL)
print(child.pid, reaper.group, flush=True)
time.sleep(600)
"""
# One whose children talk to each other: the first says, as it leaves, whether the last was still there.
ORDERED = """
import subprocess, sys, time
from ops.reaper import Reaper
servers = Reaper()
workers = Reaper(inherit=[servers.pipe])
server = servers.spawn([sys.executable, "-c", "import time; time.sleep(600)"], output=subprocess.DEVNULL)
worker = workers.spawn([sys.executable, "-c", sys.argv[1], str(server.pid), sys.argv[2]], output=subprocess.DEVNULL)
print(server.pid, flush=True)
time.sleep(600)
"""
ASKING = """
import signal, sys, time
from pathlib import Path
server, answer = Path(f"/proc/{sys.argv[1]}/stat"), Path(sys.argv[2])
def leave(*_):
    time.sleep(0.5)
    there = server.exists() and server.read_text().rpartition(")")[2].split()[0] != "Z"
    answer.write_text("there" if there else "gone")
    sys.exit()
signal.signal(signal.SIGTERM, leave)
answer.write_text("ready")
time.sleep(600)
"""
POLITE = "import time; time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Ended; whether whoever inherited it has already noticed does not matter."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self").exists():
            return True
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False
    return state == "Z"


def start_command(child: str) -> tuple[subprocess.Popen[str], int, int]:
    command = subprocess.Popen([sys.executable, "-c", COMMAND, child], stdout=subprocess.PIPE, text=True)
    assert command.stdout is not None
    pid, group = map(int, command.stdout.readline().split())
    command.stdout.close()
    return command, pid, group


def test_a_killed_command_takes_its_children_with_it() -> None:
    command, child, group = start_command(POLITE)
    assert os.getpgid(child) == group != os.getpgid(0)
    command.kill()
    command.wait()
    until(lambda: gone(child))
    until(lambda: gone(group))


def test_a_child_that_ignores_sigterm_is_ended_by_force() -> None:
    command, child, _ = start_command(STUBBORN)
    command.kill()
    command.wait()
    until(lambda: gone(child))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc")
def test_what_the_others_talk_to_goes_last(tmp_path: Path) -> None:
    said = tmp_path / "said"
    command = subprocess.Popen([sys.executable, "-c", ORDERED, ASKING, str(said)], stdout=subprocess.PIPE, text=True)
    assert command.stdout is not None
    with command.stdout as lines:
        server = int(lines.readline())
    until(lambda: said.exists() and said.read_text() == "ready")
    command.kill()
    command.wait()
    until(lambda: said.read_text() not in ("ready", ""))
    assert said.read_text() == "there"
    until(lambda: gone(server))


def test_closing_ends_what_is_left_at_once() -> None:
    reaper = Reaper()
    child = reaper.spawn([sys.executable, "-c", STUBBORN], output=subprocess.DEVNULL)
    began = time.monotonic()
    reaper.close()
    assert child.wait(5) == -signal.SIGKILL
    assert time.monotonic() - began < 5
    reaper.close()  # twice is harmless


def test_closing_works_without_the_helper_too() -> None:
    reaper = Reaper()
    child = reaper.spawn([sys.executable, "-c", POLITE], output=subprocess.DEVNULL)
    os.kill(reaper.group, signal.SIGKILL)
    until(lambda: gone(reaper.group))
    reaper.close()
    assert child.wait(5) == -signal.SIGKILL


def test_a_signal_to_the_group_does_not_end_the_helper() -> None:
    reaper = Reaper()
    child = reaper.spawn([sys.executable, "-c", POLITE], output=subprocess.DEVNULL)
    os.killpg(reaper.group, signal.SIGTERM)
    assert child.wait(5) == -signal.SIGTERM
    assert not gone(reaper.group)
    reaper.close()
    assert gone(reaper.group)

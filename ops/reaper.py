"""Makes sure that nothing outlives the command that started it, not even when that command is killed with -9.

A tiny helper process leads a process group of its own and reads from a pipe that only the command holds open.
However the command ends, the pipe ends with it; then the helper ends every process of its group.

The children are in the helper's group and not in the command's, so a terminal's Ctrl-C reaches only the command,
which stops them in order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import IO

GRACE_SECONDS = 5.0
CLOSE_SECONDS = 5.0
POLL_SECONDS = 0.02
# What the command writes when it has stopped everything in order: whatever is left then need not be asked twice.
DONE = b"."


class Reaper:
    """The command's side: starts the helper, and starts children in its group.

    Args:
        inherit: file descriptors that the helper and every child hold open too, as long as they live.
    """

    def __init__(self, inherit: Sequence[int] = ()) -> None:
        self._inherit = tuple(inherit)
        self._children: list[subprocess.Popen[bytes]] = []
        # By its file and without site-packages: it starts in milliseconds and depends on nothing.
        self._helper = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
            pass_fds=self._inherit,
        )
        if self._helper.stdout:
            with self._helper.stdout as said:
                said.read(1)  # from here on it cannot be ended by the signals it sends

    @property
    def group(self) -> int:
        return self._helper.pid

    @property
    def pipe(self) -> int:
        """What holds the children back from ending. Whoever inherits it is waited for, too."""
        return self._helper.stdin.fileno() if self._helper.stdin else -1

    def spawn(
        self, command: Sequence[str], *, output: IO[bytes] | int, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a child that ends with this command at the latest. Both its streams go to `output`."""
        child = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            process_group=self.group,
            pass_fds=self._inherit,
        )
        self._children = [one for one in self._children if one.poll() is None] + [child]
        return child

    def close(self) -> None:
        """End whatever is left in the group at once, and the helper with it."""
        pipe = self._helper.stdin
        if pipe is None or pipe.closed:
            return
        try:
            pipe.write(DONE)
            pipe.close()
        except BrokenPipeError:  # the helper was killed: what it should do is done below
            kill_group(self.group, signal.SIGKILL)
        try:
            self._helper.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            kill_group(self.group, signal.SIGKILL)
            self._helper.wait()
        for child in self._children:
            child.wait()


def kill_group(group: int, number: int) -> bool:
    """Send a signal to a process group; False when nobody is left in it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter when only zombies are left
        return False
    return True


def end_group(group: int, grace_seconds: float = GRACE_SECONDS) -> None:
    """Ask every process of a group to end, wait for it, and end by force what is left."""
    deadline = time.monotonic() + grace_seconds
    kill_group(group, signal.SIGTERM)
    while time.monotonic() < deadline:
        if not kill_group(group, 0):
            return
        time.sleep(POLL_SECONDS)
    kill_group(group, signal.SIGKILL)


def main() -> None:
    """The helper's side."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.write(1, b".")
    said = b""
    while chunk := os.read(0, 16):
        said += chunk
    group = os.getpgrp()
    if said == DONE:
        kill_group(group, signal.SIGKILL)  # this process too
    # Only a process outside the group can see when it is empty. The leader makes room by leaving.
    if os.fork() == 0:
        os.setpgid(0, 0)
        end_group(group)
    os._exit(0)


if __name__ == "__main__":
    main()

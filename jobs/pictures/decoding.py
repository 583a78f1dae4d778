"""Decoder: checks pictures from the outside in processes of their own.

A picture is decoded by C code, and whoever made the picture may know that code's faults better than we do: it may
crash, take all the memory, or go on for hours (a JPEG of a few megabytes with thousands of scans does). So it is
decoded in a helper process with limits on memory, processor time and time; when it breaks one, the helper is gone and
the picture is refused, and nothing else.

A helper starts once and then takes one picture after another, so a check costs little more than the decoding. It gets
an open file and no data; no setting, no secret and no connection. It ends when its end of the socket pair is closed,
which happens however its parent ends.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from jobs.errors import PictureError
from jobs.pictures.decoder_helper import READY, REQUEST, wall_limit_seconds
from jobs.pictures.picture_formats import MEDIA_TYPES, Header

# Each helper decodes one picture at a time, so more of them than processors would not help.
MAX_HELPERS = 4
START_SECONDS = 30.0
WAIT_SECONDS = 1.0  # how often the caller's `progress` is called meanwhile

MAX_ANSWER_BYTES = 4096
MAX_PROBLEM_CHARACTERS = 300

TOO_LONG = "takes too long to decode; save it anew"
BROKEN = "breaks the decoder; save it anew"

_HERE = Path(__file__).parents[2]
_COMMAND = (sys.executable, "-P", "-m", "jobs.pictures.decoder_helper")


def _nothing() -> None:
    pass


class HelperGone(Exception):
    """The helper ended, or took too long. Its text says what that means for the picture."""


class Decoder:
    """A few helpers, started when they are first needed. Threads may share it; close it when done.

    Args:
        helpers: how many at most; by default one for each processor, up to four.
        command: starts a helper that talks over its standard input.
    """

    def __init__(self, helpers: int | None = None, command: Sequence[str] = _COMMAND) -> None:
        self._command = command
        self._room = threading.Semaphore(helpers or min(MAX_HELPERS, os.cpu_count() or 1))
        self._lock = threading.Lock()
        self._idle: list[_Helper] = []
        self._closed = False

    def close(self) -> None:
        """End the helpers; those that are at work end when they are done."""
        with self._lock:
            self._closed, idle, self._idle = True, self._idle, []
        for helper in idle:
            helper.end()

    def check(self, path: Path, max_pixels: int, name: str, progress: Callable[[], None] = _nothing) -> Header:
        """As `picture_formats.check_picture`, whatever the picture does to its decoder.

        Args:
            path: where it is.
            progress: called about once a second while this waits; what it raises ends the check.

        Raises:
            PictureError: not a picture, broken, over a limit, or it breaks or holds up the decoder.
            OSError: no helper could be started.
        """
        with self._helper(progress) as helper:
            try:
                answer = helper.ask(path, max_pixels, progress)
            except HelperGone as error:
                raise PictureError(f"{name}: {error}") from error
            return _header(answer, max_pixels, name)

    @contextmanager
    def _helper(self, progress: Callable[[], None]) -> Iterator[_Helper]:
        """A helper for one picture. One whose picture was refused takes no other: who knows what that did to it."""
        while not self._room.acquire(timeout=WAIT_SECONDS):
            progress()
        try:
            helper = self._idle_one() or _Helper(self._command)
            try:
                yield helper
            except BaseException:
                helper.end()
                raise
            self._put_back(helper)
        finally:
            self._room.release()

    def _idle_one(self) -> _Helper | None:
        while True:
            with self._lock:
                helper = self._idle.pop() if self._idle else None
            if helper is None or helper.alive:
                return helper
            helper.end()

    def _put_back(self, helper: _Helper) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(helper)
                return
        helper.end()


class _Helper:
    """The parent's side of one helper process."""

    def __init__(self, command: Sequence[str]) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  (our own)
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_environment(),
            )
        if not self._starts():
            self.end()
            raise OSError(errno.EAGAIN, "the picture decoder does not start")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def _starts(self) -> bool:
        try:
            return self._receive(time.monotonic() + START_SECONDS, _nothing) == READY
        except HelperGone:
            return False

    def end(self) -> None:
        """End it now, and leave no zombie."""
        self._channel.close()
        self._process.kill()
        self._process.wait()

    def ask(self, path: Path, max_pixels: int, progress: Callable[[], None]) -> bytes:
        deadline = time.monotonic() + wall_limit_seconds(max_pixels)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            socket.send_fds(self._channel, [REQUEST.pack(max_pixels)], [descriptor])
        except OSError as error:
            raise HelperGone("its decoder was ended from outside") from error
        finally:
            os.close(descriptor)
        return self._receive(deadline, progress)

    def _receive(self, deadline: float, progress: Callable[[], None]) -> bytes:
        """One line, or HelperGone."""
        line = b""
        while not line.endswith(b"\n"):
            progress()
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise HelperGone(TOO_LONG)
            if len(line) > MAX_ANSWER_BYTES:
                raise HelperGone(BROKEN)
            self._channel.settimeout(min(WAIT_SECONDS, remaining))
            with suppress(TimeoutError):
                line += (chunk := self._chunk())
                if not chunk:
                    raise HelperGone(self._how_it_ended())
        return line

    def _chunk(self) -> bytes:
        try:
            return self._channel.recv(MAX_ANSWER_BYTES)
        except ConnectionError:
            return b""

    def _how_it_ended(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            if self._process.wait(WAIT_SECONDS) in (-signal.SIGXCPU, -signal.SIGALRM):
                return TOO_LONG
        return BROKEN


def _environment() -> dict[str, str]:
    """Where the code is, and nothing else: what runs hostile bytes knows no setting."""
    return {"PYTHONPATH": os.pathsep.join([str(_HERE), *filter(None, sys.path)])}


def _header(answer: bytes, max_pixels: int, name: str) -> Header:
    """What the helper found. Believed only as far as it can be: its memory may be the picture's by now."""
    broken = PictureError(f"{name}: {BROKEN}")
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise broken from error
    match found:
        case {"problem": str(text)}:
            raise PictureError(f"{name}{''.join(filter(str.isprintable, text[:MAX_PROBLEM_CHARACTERS]))}")
        case [str(kind), int(width), int(height)] if kind in MEDIA_TYPES and width > 0 and height > 0:
            header = Header(kind, width, height)
            if header.pixels <= max_pixels:
                return header
    raise broken

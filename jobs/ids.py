"""The ids of jobs: derived from what a job is, so that enqueueing it again finds the same job."""

from __future__ import annotations

import hashlib
import re
from itertools import product

ID_CHARACTERS = 24
ID = re.compile(rf"job_[a-z2-7]{{{ID_CHARACTERS}}}")
_ID_BYTES = ID_CHARACTERS * 5 // 8
# Two characters of base32 (RFC 4648) for each 10 bits: the standard library's takes longer than the hashing before it.
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = tuple(map("".join, product(_LETTERS, repeat=2)))
_PLACES = range(_ID_BYTES * 8 - 10, -1, -10)


def id_of(content: str) -> str:
    """The id of the job that `content` describes. What it begins with keeps the kinds of descriptions apart."""
    digest = int.from_bytes(hashlib.sha256(content.encode()).digest()[:_ID_BYTES])
    return "job_" + "".join([_PAIRS[digest >> place & 1023] for place in _PLACES])

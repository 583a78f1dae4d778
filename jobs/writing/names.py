"""Names of writes: by its name a write that is repeated, since its reply was lost, is known for what it is."""

from __future__ import annotations

import os
from binascii import b2a_base64
from random import Random

_BYTES = 6
# The system's own random numbers let the interpreter's lock go for each, and another thread takes it meanwhile.
_chance = Random()  # noqa: S311  (names are no secrets)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_chance.seed)  # or parent and child would go on with the same names


def new_name() -> str:
    """A name for writes of the same moment, at most one of each job. Eight characters, since a record keeps the last
    eight names: that one of these is taken for a new one happens in one of some 10^12 writes.
    """
    return b2a_base64(_chance.randbytes(_BYTES), newline=False).decode()

"""Standard streams that whoever started us has closed (`blendq … >&-`): replaced by ones that lead nowhere.

Python has None in their place. And the next files to be opened, locks and pipes among them, would get their numbers,
under which a child finds its own streams instead.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

NOWHERE = Path(os.devnull)


def replace_closed_streams() -> None:
    """To be called before anything else is opened."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, NOWHERE.open(mode, encoding="utf-8"))

"""Refreshing: the results' folder follows a run, so that pictures can be looked at before all are there."""

from __future__ import annotations

import time
from collections.abc import Callable

from jobs.errors import BlendqError, StoreUnavailable
from ops.notes import note

FIRST_SECONDS = 10.0
# At most so much of a run's time goes into it; and it is not done more often than the least.
SHARE = 0.05
LEAST_SECONDS = 30.0


class Refreshing:
    """
    Args:
        write: writes all results that there are.
    """

    def __init__(self, write: Callable[[], object]) -> None:
        self._write = write
        self._next_at = time.monotonic() + FIRST_SECONDS
        self._written: int | None = None
        self._complained = False

    def look(self, finished: int) -> None:
        """To be called again and again.

        Args:
            finished: how many jobs are.
        """
        began = time.monotonic()
        if began < self._next_at or not finished or finished == self._written:
            return
        try:
            self._write()
            self._written = finished
        except StoreUnavailable:
            pass  # it is away for a moment; whoever follows the run says so if it is not back soon
        except BlendqError as error:
            if not self._complained:
                note(f"{error}; the run goes on, and it is tried again")
            self._complained = True
        ended = time.monotonic()
        self._next_at = ended + max(LEAST_SECONDS, (ended - began) / SHARE)

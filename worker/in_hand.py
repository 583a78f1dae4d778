"""In hand: records as they were last written here, for whoever decides on them next."""

from __future__ import annotations

from collections import OrderedDict

from jobs.applying import Applied
from jobs.records import Known


class InHand:
    """Any thread may use it. What somebody else has written since is found out by the store.

    Args:
        most: so many jobs; those that were written the longest ago are forgotten first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[str, Known] = OrderedDict()

    def keep(self, applied: Applied) -> None:
        """It is as it was just written. What was only read is not kept: it has no name to know it by."""
        job_id, known = applied.after.id, applied.known
        self._known.pop(job_id, None)
        if known is not None and known.name:
            self._known[job_id] = known
            if len(self._known) > self._most:
                self._known.popitem(last=False)

    def take(self, job_id: str) -> Known | None:
        """The record, if it is in hand; from then on it is the caller's."""
        return self._known.pop(job_id, None)

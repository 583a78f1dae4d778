"""Campaigns: a name that jobs share, and the counts kept under it."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jobs.errors import CampaignNotFound, UsageError
from jobs.job import Status
from jobs.slots.pause import Pause
from jobs.slots.plan import DEFAULT_PLAN, Plan
from jobs.store import JobStore

MAX_NAME_CHARACTERS = 64
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_STEM_CHARACTERS = 40
_HASH_CHARACTERS = 8


@dataclass(frozen=True)
class CampaignSummary:
    """A campaign in numbers, which the store keeps up with every change: reading them costs the same at any size.

    `counts` holds the statuses in which there are jobs, in the order of a job's life. `submissions` are those
    known to be accepted, and so paid for; `resubmissions` the bodies sent after a job's first; `queued_answers` the
    answers 22; `uncertain` the bodies that may have been accepted, for all that is known.
    """

    name: str
    created_at: datetime
    counts: Mapping[Status, int]
    submissions: int = 0
    resubmissions: int = 0
    queued_answers: int = 0
    uncertain: int = 0
    plan: Plan = DEFAULT_PLAN
    pause: Pause | None = None

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def unfinished(self) -> int:
        return sum(count for status, count in self.counts.items() if not status.final)


def campaign_name(*places: Path) -> str:
    """The campaign of a manifest or of folders: a readable name, and a short hash of where they are.

    The same file always gives the same name, so that running it again finds the jobs it has. Two files of one name
    in two folders are two campaigns.
    """
    paths = [Path(os.path.realpath(place)) for place in places]  # of a loop of links too
    ascii_stem = unicodedata.normalize("NFKD", "-".join(path.stem for path in paths)).encode("ascii", "ignore").decode()
    stem = re.sub(r"[^a-z0-9]+", "-", ascii_stem.lower())[:_STEM_CHARACTERS].strip("-") or "campaign"
    return f"{stem}-{hashlib.sha256(os.fsencode(chr(0).join(map(str, paths)))).hexdigest()[:_HASH_CHARACTERS]}"


def check_name(name: str) -> str:
    """The name, when it is one that a campaign may have.

    Raises:
        UsageError: says what a name may be.
    """
    if not _NAME.fullmatch(name):
        shown = name if len(name) <= MAX_NAME_CHARACTERS else f"{name[:MAX_NAME_CHARACTERS]}…"
        raise UsageError(f"campaign {shown!r}: a name is 1 to {MAX_NAME_CHARACTERS} letters, digits, '-', '_' or '.'")
    return name


def summaries(store: JobStore) -> list[CampaignSummary]:
    """Every campaign, the oldest first."""
    return [_summary(store, name, created_at) for name, created_at in store.campaigns()]


def summary(store: JobStore, name: str) -> CampaignSummary:
    """One campaign.

    Raises:
        CampaignNotFound: no job was ever enqueued under this name.
    """
    if (created_at := store.campaign_began(name)) is None:
        raise CampaignNotFound(f"there is no campaign {name!r}; `blendq campaign list` shows what there is")
    return _summary(store, name, created_at)


def _summary(store: JobStore, name: str, created_at: datetime) -> CampaignSummary:
    found = store.counts(name)
    return CampaignSummary(
        name=name,
        created_at=created_at,
        counts={status: found[status] for status in Status if status in found},
        submissions=found.get("submissions", 0),
        resubmissions=found.get("resubmissions", 0),
        queued_answers=found.get("queued_answers", 0),
        uncertain=found.get("uncertain", 0),
        plan=store.turns.plan(name),
        pause=store.turns.paused(name),
    )

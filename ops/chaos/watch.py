"""What is seen of a run from outside: the API's ledger and tasks as it writes them, and the jobs' records."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis

from jobs.errors import StoreUnavailable
from jobs.policy import Policy
from jobs.store import JobStore

# The digests of the pictures that a job blends, and of a follow-up its action behind them; no other job has the same.
Inputs = tuple[str, ...]

# Where the APIs write; the second one only in runs that have it.
API_FOLDERS = ("api", "api-spare")
FORGOTTEN = "forgotten"
ENDED_THERE = ("FAILURE", "CANCEL")
_TOO_LATE = 1e12
GLANCE_SECONDS = 0.5
READING_SECONDS = 20.0


@dataclass
class Gone:
    """Tasks of which the API itself shows that they are no more, and since when (seconds since the epoch)."""

    since: dict[str, float] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)

    def note(self, task_id: str, at: float, why: str) -> None:
        if at < self.since.get(task_id, _TOO_LATE):
            self.since[task_id] = at
            self.why[task_id] = why


class Watch:
    """Reads around every relay and every fault: files, and the server's own socket."""

    def __init__(self, folder: Path, redis_address: str) -> None:
        self._apis = [folder / name for name in API_FOLDERS]
        self.gone = Gone()
        self.shown: dict[Inputs, set[str]] = defaultdict(set)  # the names of the pictures that its tasks have shown
        # Whoever watches must not be held up by what is watched; whoever judges must read it all.
        self._glance = JobStore(_client(redis_address, GLANCE_SECONDS), Policy())
        self.store = JobStore(_client(redis_address, READING_SECONDS), Policy())

    def accepted(self) -> list[dict[str, Any]]:
        """What the APIs were paid for, in order. They write whole lines, each before they answer."""
        return sorted((entry for api in self._apis for entry in _accepted(api)), key=accepted_at)

    def count_accepted(self) -> int:
        return sum(_count_accepted(api) for api in self._apis)

    def read_tasks(self) -> None:
        """Note what has become of the tasks. Before the API starts again, since it then tidies up."""
        for entry in (entry for api in self._apis for entry in read_lines(api / "tasks.jsonl")):
            if entry.get("status") in ENDED_THERE and entry.get("finish_time"):
                self.gone.note(entry["id"], entry["finish_time"] / 1000, entry["status"].lower())
            if entry.get("shown_picture"):
                self.shown[drawn_for(entry["picture"])].add(entry["shown_picture"])

    def forgotten_now(self) -> None:
        """The (first) API has lost its memory: whatever it had accepted is unknown from here on."""
        for entry in _accepted(self._apis[0]):
            self.gone.note(entry["task_id"], time.time(), FORGOTTEN)

    def counts(self) -> Counter[str] | None:
        """How many jobs are in which status; None while Redis does not answer."""
        try:
            return Counter(self._glance.counts())
        except (StoreUnavailable, redis.RedisError):
            return None

    def close(self) -> None:
        self._glance.close()
        self.store.close()


def _accepted(api: Path) -> list[dict[str, Any]]:
    return [entry for entry in read_lines(api / "ledger.jsonl") if entry["kind"] == "accepted"]


def _count_accepted(api: Path) -> int:
    try:
        return (api / "ledger.jsonl").read_bytes().count(b'{"kind":"accepted"')
    except FileNotFoundError:
        return 0


def _client(address: str, seconds: float) -> redis.Redis:
    return redis.Redis.from_url(address, socket_timeout=seconds, socket_connect_timeout=seconds)


def paid_for(entry: dict[str, Any]) -> Inputs:
    """Whose submission a line of the ledger is."""
    quarter = entry.get("options", {}).get("index")
    labels = {"UPSCALE": f"U{quarter}", "VARIATION": f"V{quarter}", "REROLL": "R"}
    return (*entry["inputs"], *([labels[entry["action"]]] if entry.get("action") in labels else []))


def drawn_for(spec: dict[str, Any]) -> Inputs:
    """Whose picture it is, by what the API draws it from: a take of 1 is a reroll, one more for each quarter varied."""
    quadrant, take = spec["quadrant"], spec["take"]
    follow_up = f"U{quadrant}" if quadrant else "R" if take == 1 else f"V{take - 1}"
    return (*spec["inputs"], *([follow_up] if quadrant or take else []))


def accepted_at(entry: dict[str, Any]) -> float:
    """When a submission was accepted, in seconds since the epoch."""
    return datetime.fromisoformat(entry["at"]).astimezone(UTC).timestamp()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file that may still be written."""
    found: list[dict[str, Any]] = []
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return found
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:  # torn, so never acknowledged
            continue
    return found

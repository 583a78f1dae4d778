"""The ledger: the outsider's truth about what was accepted, and so paid for."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ops.sandbox.journal import Journal

_IN_HOOK = re.compile(r"/hooks/([^/]+)/([^/]+)/[^/]+/?$")
_IN_STATE = re.compile(r"([^/\s]+)/([^/\s]+)/[^/\s]+(?=\s|$)")


def token_of(notify_hook: str | None, state: str | None) -> str | None:
    """`job/attempt`, from the path of the hook or else from the head of the state; None when neither has one."""
    if notify_hook and (found := _IN_HOOK.search(urlsplit(notify_hook).path)):
        return f"{found[1]}/{found[2]}"
    if state and (found := _IN_STATE.match(state)):
        return f"{found[1]}/{found[2]}"
    return None


class Ledger:
    """Every accepted submission, every answer by its code, every body that never arrived whole."""

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)
        self._accepted: list[dict[str, Any]] = []
        self._answers: Counter[str] = Counter()
        self._incomplete_bodies = 0
        for entry in self._journal.entries():
            self._count(entry)

    def __len__(self) -> int:
        return len(self._accepted)

    def accept(self, **what: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        token = token_of(what["notify_hook"], what["state"])
        self._write({"kind": "accepted", "at": now, "token": token} | what)

    def answer(self, code: str) -> None:
        """Note what the client was told: one of the API's codes, `http 502`, or `lost`."""
        self._write({"kind": "answer", "code": code})

    def incomplete_body(self) -> None:
        self._write({"kind": "incomplete body"})

    def as_json(self, since: int = 0) -> dict[str, Any]:
        """All of it, but for the first `since` accepted submissions."""
        return {
            "accepted": self._accepted[since:],
            "answers": dict(sorted(self._answers.items())),
            "incomplete_bodies": self._incomplete_bodies,
        }

    def close(self) -> None:
        self._journal.close()

    def _write(self, entry: dict[str, Any]) -> None:
        self._journal.append(entry)
        self._count(entry)

    def _count(self, entry: dict[str, Any]) -> None:
        match entry["kind"]:
            case "accepted":
                self._accepted.append({name: value for name, value in entry.items() if name != "kind"})
            case "answer":
                self._answers[entry["code"]] += 1
            case _:
                self._incomplete_bodies += 1

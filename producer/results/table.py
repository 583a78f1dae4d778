"""Results as a table, for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

COLUMNS = ("custom_id", "id", "campaign", "parent_id", "action", "status", "picture", "images", "dimensions",
           "bot_type", "submissions", "reused_from", "created_at", "finished_at", "reason_kind", "reason", "task_id",
           "state", "metadata")  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Table:
    """A CSV file with a header.

    Args:
        file: to be closed by the caller.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._row = io.StringIO(newline="")
        self._writer = csv.writer(self._row)
        self._write(COLUMNS)

    def add(self, line: Mapping[str, Any]) -> None:
        """One line of `results.jsonl` as a row."""
        reason, upstream = line.get("reason") or {}, line.get("upstream") or {}
        made = {
            "images": "|".join(line.get("images") or ()),
            "reason_kind": reason.get("kind"),
            "reason": _as_text(reason.get("message") or ""),
            "task_id": _as_text(upstream.get("task_id") or ""),
            "metadata": json.dumps(line["metadata"], ensure_ascii=False) if line.get("metadata") else None,
        }
        self._write([made[column] if column in made else line.get(column) for column in COLUMNS])

    def _write(self, cells: Sequence[Any]) -> None:
        self._writer.writerow(cells)
        self._file.write(self._row.getvalue().encode(errors="backslashreplace"))
        self._row.seek(0)
        self._row.truncate()


def _as_text(words: str) -> str:
    """The API's words: no spreadsheet is to take them for a formula."""
    return f"'{words}" if words.startswith(_FORMULA) else words

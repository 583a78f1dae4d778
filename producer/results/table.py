"""Results as a table, for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

COLUMNS = ("custom_id", "id", "campaign", "parent_id", "action", "status", "picture", "images", "dimensions",
           "bot_type", "submissions", "reused_from", "created_at", "finished_at", "reason_kind", "reason", "task_id",
           "state", "metadata")  # fmt: skip
# What a spreadsheet takes for a formula: the fullwidth signs too, in some languages. A number is none.
_FORMULA = re.compile(r"(?![-+]?[0-9.,]+\Z)[-=+@\t\r\n\uff0b\uff0d\uff1d\uff20]")


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
            "reason": reason.get("message"),
            "task_id": upstream.get("task_id"),
            "metadata": json.dumps(line["metadata"], ensure_ascii=False) if line.get("metadata") else None,
        }
        self._write([_as_text(made[column] if column in made else line.get(column)) for column in COLUMNS])

    def _write(self, cells: Sequence[Any]) -> None:
        self._writer.writerow(cells)
        self._file.write(self._row.getvalue().encode(errors="backslashreplace"))
        self._row.seek(0)
        self._row.truncate()


def _as_text(cell: Any) -> Any:
    """Words of the API's, or of whoever enqueued the job: no spreadsheet is to take them for a formula."""
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell

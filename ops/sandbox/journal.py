"""A file of JSON lines that survives the end of the process at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


class Journal:
    """Append-only. A line is with the operating system before `append` returns, so SIGKILL cannot take it back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = self._open()

    def _open(self) -> int:
        opened = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        size = os.fstat(opened).st_size
        if size and os.pread(opened, 1, size - 1) != b"\n":  # a torn last line must not swallow the next one
            os.write(opened, b"\n")
        return opened

    def append(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n"
        os.write(self._file, line.encode())

    def entries(self) -> Iterator[dict[str, Any]]:
        """Every whole line; a torn one was never acknowledged."""
        with self._path.open("rb") as lines:
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue

    def rewrite(self, entries: Iterable[dict[str, Any]]) -> None:
        """Replace the whole content, in one step."""
        fresh = self._path.with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
        fresh.replace(self._path)
        os.close(self._file)
        self._file = self._open()

    def close(self) -> None:
        os.close(self._file)

"""StandIn: the stand-in API's process, as the benchmarks see it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from ops.child import Child
from ops.reaper import Reaper

STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Ledger:
    """What the stand-in has seen since its last reset; its processor time is since its start."""

    submissions: int
    contents: int
    pictures: int
    callbacks: dict[str, int]
    cpu_seconds: float


class StandIn:
    """Started on entering, ended on leaving.

    Args:
        folder: for its log.
        reaper: ends it at the latest.
    """

    def __init__(self, folder: Path, reaper: Reaper) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "ops.bench.upstream", "--announce-file", str(folder / "upstream.address")]
        self._child = Child("upstream", command, {}, folder=folder, reaper=reaper)
        self._http = httpx.Client()

    def __enter__(self) -> Self:
        self._child.start()
        self._child.wait_until_ready()
        self.url = self._child.announcement.read_text().strip()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()
        self._child.ask_to_end()
        self._child.end(STOP_SECONDS)

    def reset(self) -> None:
        self._http.post(f"{self.url}/reset").raise_for_status()

    def ledger(self) -> Ledger:
        return Ledger(**self._http.get(f"{self.url}/ledger").raise_for_status().json())

"""The stand-in API's process, or another that announces its address, as the benchmarks see it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from ops.child import Child, announcement_of
from ops.reaper import Reaper

STOP_SECONDS = 5.0


class ApiProcess:
    """Started on entering, ended on leaving.

    Args:
        module: a program that takes `--announce-file`.
        options: others of it.
        folder: for its log.
        reaper: ends it at the latest.
    """

    def __init__(self, module: str, options: Sequence[str], folder: Path, reaper: Reaper) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        announcing = ["--announce-file", str(announcement_of(folder, "upstream"))]
        command = [sys.executable, "-m", module, *announcing, *options]
        self._child = Child("upstream", command, {}, folder=folder, reaper=reaper)

    def __enter__(self) -> Self:
        self._child.start()
        self._child.wait_until_ready()
        self.url = self._child.announcement.read_text().strip()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._child.ask_to_end()
        self._child.end(STOP_SECONDS)

    @property
    def pid(self) -> int | None:
        return self._child.pid


@dataclass(frozen=True)
class Ledger:
    """What the stand-in has seen since its last reset; its processor time is since its start."""

    submissions: int
    contents: int
    pictures: int
    callbacks: dict[str, int]
    cpu_seconds: float


class StandIn(ApiProcess):
    """
    Args:
        folder: for its log.
        reaper: ends it at the latest.
        options: of `ops.bench.upstream`.
    """

    def __init__(self, folder: Path, reaper: Reaper, *options: str) -> None:
        super().__init__("ops.bench.upstream", options, folder, reaper)
        self._http = httpx.Client()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()
        super().__exit__(kind, error, at)

    def reset(self) -> None:
        self._http.post(f"{self.url}/reset").raise_for_status()

    def ledger(self) -> Ledger:
        return Ledger(**self._http.get(f"{self.url}/ledger").raise_for_status().json())

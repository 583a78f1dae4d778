"""How a campaign goes on, live: a bar where there is a terminal, a plain line now and then where there is none."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jobs.job import FINAL, Status
from ops.cli.output import duration
from ops.notes import note

PLAIN_LINE_SECONDS = 5.0
T = TypeVar("T")
# What people see: several statuses that differ only inside are one word.
WORDS = {
    "succeeded": (Status.SUCCEEDED,),
    "failed": (Status.FAILED,),
    "parked": (Status.PARKED,),
    "cancelled": (Status.CANCELLED,),
    "fetching": (Status.COLLECTING,),
    "running": (Status.RUNNING, Status.ACCEPTED),
    "queued there": (Status.QUEUED,),
    "uploading": (Status.RELEASED, Status.SUBMITTING, Status.COMMITTED),
    "unsure": (Status.UNSURE,),
    "waiting": (Status.WAITING,),
}


def total(counts: Mapping[str, int]) -> int:
    return sum(counts.get(status, 0) for status in Status)


def finished(counts: Mapping[str, int]) -> int:
    return sum(counts.get(status, 0) for status in FINAL)


def in_flight(counts: Mapping[str, int]) -> int:
    """Jobs that are neither final nor merely waiting: something is still going on with them."""
    return total(counts) - finished(counts) - counts.get(Status.WAITING, 0)


@dataclass(frozen=True)
class Progress:
    """A campaign at one moment of a run.

    Args:
        counts: from the store, now.
        before: the same when the run began.
        seconds: since then.
    """

    counts: Mapping[str, int]
    before: Mapping[str, int]
    seconds: float

    @property
    def rate(self) -> float:
        """Jobs finished a second, in this run."""
        done = finished(self.counts) - finished(self.before)
        return done / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At this rate; None while there is none yet."""
        return (total(self.counts) - finished(self.counts)) / self.rate if self.rate > 0 else None

    def since(self, name: str) -> int:
        """How much of a tally this run has added."""
        return self.counts.get(name, 0) - self.before.get(name, 0)

    def statuses(self) -> str:
        sums = {word: sum(self.counts.get(status, 0) for status in group) for word, group in WORDS.items()}
        return " · ".join(f"{count} {word}" for word, count in sums.items() if count)

    def pace(self) -> str:
        left = "" if self.seconds_left is None else f" · about {duration(self.seconds_left)} left"
        extra = f"{self.since('queued_answers')} times 22 · {self.since('resubmissions')} resubmitted"
        return f"{self.rate:.2f}/s{left} · {extra}"

    def line(self) -> str:
        return f"{finished(self.counts)}/{total(self.counts)} done: {self.statuses()} · {self.pace()}"


def counted(items: Iterable[T], words: Callable[[int, float], str]) -> Iterator[T]:
    """The same items, and every few seconds a line for people.

    Args:
        items: what takes long.
        words: the line, by how many there were and the seconds since the first was asked for.
    """
    began = said = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        if (now := time.monotonic()) - said >= PLAIN_LINE_SECONDS:
            note(words(count, now - began))
            said = now


class Display(ABC):
    """Where progress is shown."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027  (only some have something to close)
        """Leave the last state standing."""

    @abstractmethod
    def show(self, progress: Progress) -> None:
        """Called a few times a second."""

    @abstractmethod
    def note(self, text: str) -> None:
        """Say something beside the progress."""


def open_display() -> Display:
    return _Terminal() if sys.stderr.isatty() else _Plain()


class _Plain(Display):
    def __init__(self) -> None:
        self._next = 0.0
        self._last = ""

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        ended = finished(progress.counts) == total(progress.counts)
        if now >= self._next or ended:
            self._next = now + PLAIN_LINE_SECONDS
            if (line := progress.line()) != self._last:
                note(line)
                self._last = line

    def note(self, text: str) -> None:
        note(text)


class _Terminal(Display):
    def __init__(self) -> None:
        self._console = Console(stderr=True)  # honours NO_COLOR by itself
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def close(self) -> None:
        self._live.stop()

    def show(self, progress: Progress) -> None:
        done, everything = finished(progress.counts), total(progress.counts)
        bar = Table.grid(padding=(0, 1))
        bar.add_row(ProgressBar(total=max(everything, 1), completed=done, width=40), f"{done}/{everything}")
        self._live.update(Group(bar, Text(progress.statuses()), Text(progress.pace(), style="dim")), refresh=True)

    def note(self, text: str) -> None:
        self._console.print(Text(f"blendq: {text}"))

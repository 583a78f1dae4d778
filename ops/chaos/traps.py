"""Traps: a worker that comes to a certain step of a submission kills or stops itself there.

A trap is a file in a folder that the harness and the workers share. Whoever removes it has stepped into it, so each
trap catches one worker once, at exactly its step, which no signal from outside could hit.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KILL = "kill"
STOP = "stop"
_SIGNALS = {KILL: signal.SIGKILL, STOP: signal.SIGSTOP}
_POISON = ".poison"
# A notice was taken by its endpoint, and nobody knows yet.
AFTER_NOTICE = "after-notice"


@dataclass(frozen=True)
class Armed:
    """A trap that was laid. `caught` tells who stepped into it."""

    path: Path

    @property
    def caught(self) -> int | None:
        """The process that stepped into it; None as long as nobody did."""
        try:
            return int(self.path.with_suffix(".sprung").read_text(encoding="utf-8") or 0) or None
        except (FileNotFoundError, ValueError):
            return None

    def disarm(self) -> bool:
        """Take it away; False when somebody has stepped into it already."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        return True


class Traps:
    """
    Args:
        folder: of one run, shared by its processes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = itertools.count()

    def lay(self, step: str, action: str) -> Armed:
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"{step}.{next(self._number)}.{action}"
        path.touch()
        return Armed(path)

    def poison(self, job_id: str) -> None:
        """Let this job kill whoever claims it, each time."""
        self._folder.mkdir(exist_ok=True)
        (self._folder / f"{job_id}{_POISON}").touch()

    def cure(self, job_id: str) -> None:
        (self._folder / f"{job_id}{_POISON}").unlink(missing_ok=True)

    def poisoned(self) -> set[str]:
        return {path.name.removesuffix(_POISON) for path in self._folder.glob(f"*{_POISON}")}

    def taste(self, job_id: str) -> None:
        """This process has claimed a job: if it is poison, die."""
        if (self._folder / f"{job_id}{_POISON}").exists():
            os.kill(os.getpid(), signal.SIGKILL)

    def spring(self, step: str) -> None:
        """This process has come to a step: if a trap lies there, step into it."""
        for action, number in _SIGNALS.items():
            for path in self._folder.glob(f"{step}.*.{action}"):
                try:
                    path.unlink()
                except FileNotFoundError:
                    continue  # somebody was faster
                path.with_suffix(".sprung").write_text(str(os.getpid()), encoding="utf-8")
                os.kill(os.getpid(), number)


def set_up(traps: Traps) -> None:
    """Let this worker notice at which step it is, by wrapping what it calls there."""
    from jobs.events import Answer, Claim, Collected, Commit, NoAnswer  # noqa: PLC0415  (the harness needs none of it)
    from jobs.store import JobStore  # noqa: PLC0415
    from worker import duty  # noqa: PLC0415
    from worker.proxy.body import Body  # noqa: PLC0415
    from worker.submit import submit  # noqa: PLC0415

    before = {
        Commit: "before-commit",
        Answer: "before-record",
        NoAnswer: "before-record",
        Collected: "before-collected",
    }
    after = {
        Claim: "claimed",
        Commit: "after-commit",
        Answer: "after-record",
        NoAnswer: "after-record",
        Collected: "after-collected",
    }
    apply, stream = JobStore.apply, Body.stream

    def watched_apply(self: JobStore, job_id: str, event: Any, **named: Any) -> Any:
        if step := before.get(type(event)):
            traps.spring(step)
        applied = apply(self, job_id, event, **named)
        if isinstance(event, Claim) and applied.changed:
            traps.taste(job_id)
        if (step := after.get(type(event))) and applied.changed:
            traps.spring(step)
        return applied

    def watched_stream(self: Body, *arguments: Any, **named: Any) -> Generator[bytes]:
        for index, chunk in enumerate(stream(self, *arguments, **named)):
            half = 0 if index else len(chunk) // 2  # of a small body the first chunk is all but the last byte
            if half:
                yield chunk[:half]
                traps.spring("mid-upload")
            yield chunk[half:]
        traps.spring("after-last-byte")

    def watched_submit(*arguments: Any) -> None:
        traps.spring("released")
        submit(*arguments)

    _replace(JobStore, "apply", watched_apply)
    _replace(Body, "stream", watched_stream)
    _replace(duty, "submit", watched_submit)
    _watch_deliveries(traps)


def _watch_deliveries(traps: Traps) -> None:
    from jobs.telling.outbox import Outbox  # noqa: PLC0415  (as above)

    done = Outbox.done

    def watched_done(self: Outbox, *arguments: Any) -> None:
        traps.spring(AFTER_NOTICE)
        done(self, *arguments)

    _replace(Outbox, "done", watched_done)


def _replace(owner: Any, name: str, function: Callable[..., Any]) -> None:
    setattr(owner, name, function)

"""Plan: what a long run does. It is kept in the run's folder, so that the next start goes on with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from ops.bench.ports import free_port

_FILE = "plan.json"


class AnotherPlanError(Exception):
    """The folder holds a run of another plan."""


@dataclass(frozen=True)
class Stage:
    """Enqueue until there are so many jobs in all, then work until so many in all are finished."""

    number: int
    enqueued: int
    finished: int


@dataclass(frozen=True)
class Plan:
    """
    Args:
        jobs: how many wait when work begins; several numbers, in ascending order, for several stages.
        finish: how many are then finished; None for all.
        picture_bytes: the size of each input picture.
        workers: worker processes.
        threads: submissions and downloads at once in each.
        speed: of the sandbox; None for the stand-in, which answers at once.
        kept: finished jobs of another campaign that are there before the first is enqueued.
        api_port, receiver_port: the same at each start: what is under way knows them.
    """

    jobs: tuple[int, ...]
    finish: int | None
    picture_bytes: int
    workers: int
    threads: int
    speed: float | None
    kept: int = 0
    api_port: int = 0
    receiver_port: int = 0

    @property
    def stages(self) -> Iterator[Stage]:
        done = 0
        for number, jobs in enumerate(self.jobs):
            finish = jobs if self.finish is None else min(jobs, self.finish)
            yield Stage(number, done + jobs, done + finish)
            done += finish

    @property
    def total(self) -> int:
        return max(stage.enqueued for stage in self.stages)

    def kept_in(self, folder: Path) -> Self:
        """This plan as it was begun in the folder, or as it is begun there now.

        Raises:
            AnotherPlanError: what was begun there is something else.
        """
        file = folder / _FILE
        if not file.exists():
            begun = replace(self, api_port=free_port(), receiver_port=free_port())
            file.write_text(json.dumps(asdict(begun)), encoding="utf-8")
            return begun
        facts = json.loads(file.read_text(encoding="utf-8"))
        begun = type(self)(**facts | {"jobs": tuple(facts["jobs"])})
        if replace(begun, api_port=0, receiver_port=0) != self:
            raise AnotherPlanError(f"{folder} holds a run of {begun}; give its options again, or another folder")
        return begun

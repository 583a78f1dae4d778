"""Expected: which jobs rightly end without a picture, each by its name and for its own reason.

What was done to a job is read from what did it: the API's ledger, tasks and pictures, and the traps of the harness.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.job import Job, Status
from ops.chaos.traps import Traps
from ops.chaos.watch import API_FOLDERS, FORGOTTEN, Inputs, Watch, drawn_for, paid_for, read_lines


class Expected:
    """
    Args:
        folder: of the run.
        watch: has read the tasks to the last.
        jobs_of: each job's id, by its inputs.
        orphans: the follow-ups whose parents' grids are not to be had any more.
    """

    def __init__(
        self, folder: Path, watch: Watch, jobs_of: Mapping[Inputs, str], orphans: Collection[str] = ()
    ) -> None:
        self._jobs_of = jobs_of
        self._orphans = orphans
        paid = watch.accepted()
        pictures = [line for api in API_FOLDERS for line in read_lines(folder / api / "pictures.jsonl")]
        self.poisoned = Traps(folder / "traps").poisoned()
        ended = {task_id for task_id, why in watch.gone.why.items() if why != FORGOTTEN}
        self.failed_there = self._names([entry for entry in paid if entry["task_id"] in ended])
        self.in_conflict = self._sharing_a_task(paid) | self._sharing_a_picture(watch.shown, pictures)
        self.spoiled = self._without_a_good_picture(watch.shown, pictures)

    def problem(self, job: Job) -> str | None:
        """What is wrong with how this job has ended; None when that is as it should be."""
        kind = job.reason.kind if job.reason else ""
        if job.id in self.poisoned and (job.status, kind) != (Status.PARKED, "poison"):
            return f"killed every worker that claimed it, and is {job.status}"
        if job.id in self.spoiled and job.status is Status.SUCCEEDED:
            return "succeeded, though its picture never came right"
        if kind == "no_parent":
            return None if job.id in self._orphans else "says that it has no parent, whose grid is there"
        if job.status in (Status.FAILED, Status.CANCELLED) and job.id not in self.failed_there:
            return f"is {job.status}, and its task did not end there"
        if kind == "conflict" and job.id not in self.in_conflict:
            return "is in conflict, and has its task and its picture alone"
        if kind == "picture" and job.id not in self.spoiled:
            return "is parked for its picture, which was not spoiled for good"
        return None

    def _names(self, entries: Sequence[Mapping[str, Any]]) -> set[str]:
        return {name for entry in entries if (name := self._jobs_of.get(paid_for(dict(entry))))}

    def _sharing_a_task(self, paid: Sequence[Mapping[str, Any]]) -> set[str]:
        ids = [entry["task_id"] for entry in paid]
        return self._names([entry for entry in paid if ids.count(entry["task_id"]) > 1])

    def _sharing_a_picture(self, shown: Mapping[Inputs, set[str]], pictures: Sequence[Mapping[str, Any]]) -> set[str]:
        """Those that were shown another's picture, and those whose picture that was."""
        made_from = {entry["name"]: drawn_for(entry["spec"]) for entry in pictures}
        sharing = {(inputs, made_from[name]) for inputs, names in shown.items() for name in names if name in made_from}
        involved = {one for pair in sharing if len(set(pair)) > 1 for one in pair}
        return {name for inputs in involved if (name := self._jobs_of.get(inputs))}

    def _without_a_good_picture(
        self, shown: Mapping[Inputs, set[str]], pictures: Sequence[Mapping[str, Any]]
    ) -> set[str]:
        """Those whose tasks have succeeded, but with spoiled pictures only."""
        good = {entry["name"] for entry in pictures if not entry["spoil"]}
        return {name for inputs, names in shown.items() if not names & good and (name := self._jobs_of.get(inputs))}

"""Followed: whether each job has the follow-ups that were asked for, each exactly once; and none before its success."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from jobs.actions import Action
from jobs.follow_ups import follow_up_id
from jobs.job import Job, Status
from ops.chaos.watch import Inputs, Watch


class Followed:
    """
    Args:
        parents: each blend of a run, with the actions that were to follow its success.
        watch: has read the tasks to the last.

    `inputs` and `jobs` are those of the follow-ups, by their ids; `orphans` those whose grids are not to be had any
    more. `lost` and `wrong` hold lines for people.
    """

    def __init__(self, parents: Mapping[str, tuple[Job, Sequence[str]]], watch: Watch) -> None:
        self.inputs: dict[str, Inputs] = {}
        self.orphans: set[str] = set()
        self.lost: list[str] = []
        self.wrong: list[str] = []
        for job, then in parents.values():
            self._check(job, [Action(one) for one in then], watch)
        found = watch.store.find_many(list(self.inputs))
        self.jobs = {job.id: job for job in found if job}

    def _check(self, job: Job, then: Sequence[Action], watch: Watch) -> None:
        wanted = {follow_up_id(job, action): action for action in then}
        missing = [action for one, action in wanted.items() if one not in job.follow_ups]
        if job.status is Status.SUCCEEDED:
            self.lost += [f"{job.id}: succeeded, and its follow-up {action} is not there" for action in missing]
        elif job.status is not Status.PARKED and job.follow_ups:  # a conflict parks it after its success, too
            self.wrong.append(f"{job.id}: is {job.status}, and has follow-ups")
        for one, count in Counter(job.follow_ups).items():
            if one not in wanted or count > 1:
                self.wrong.append(f"{job.id}: has the follow-up {one} {count} times, which was not asked for")
            else:
                self._note(job, one, wanted[one], watch)

    def _note(self, job: Job, follow_up: str, action: Action, watch: Watch) -> None:
        digests = (image.removeprefix("sha256:") for image in job.request.images)
        self.inputs[follow_up] = (*digests, action.value)
        task_id = job.attempt.task_id if job.attempt else None
        if job.status is not Status.SUCCEEDED or task_id in watch.gone.since:
            self.orphans.add(follow_up)

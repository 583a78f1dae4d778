"""The verdict, by what the API was paid for and what lies in the picture store; not by what blendq says of itself."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from jobs.history import HistoryEntry
from jobs.job import Job, Status
from ops.chaos.doubt import UNSURE, Doubt, Doubts, Span
from ops.chaos.expected import Expected
from ops.chaos.followed import Followed
from ops.chaos.options import Options
from ops.chaos.produce import Row, acknowledged, planned
from ops.chaos.watch import Inputs, Watch, accepted_at, paid_for

INPUTS_KEY = "blendq-sandbox-inputs"
PICTURES = 2  # in each blend
# The API's clock and the file system's are one; a task's end and the next acceptance may still share a millisecond.
SAME_MOMENT_SECONDS = 0.005


@dataclass
class Verdict:
    """What became of the jobs. Each list holds lines for people."""

    jobs: int = 0
    final: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    double_paid: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    parked: list[str] = field(default_factory=list)
    parked_as: Counter[str] = field(default_factory=Counter)  # by reason, and whether the ledger says that it was paid
    failed: list[str] = field(default_factory=list)
    doubt: Doubt = field(default_factory=Doubt)
    paid_again: Counter[str] = field(default_factory=Counter)
    histories: dict[str, list[str]] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return not (self.lost or self.double_paid or self.wrong)


class Judge:
    """Compares the API's ledger with the records.

    Args:
        folder: of the run.
        spans: the faults that happened.
        answer_seconds: how long a worker waits for an answer in this run.
    """

    def __init__(
        self, options: Options, folder: Path, spans: Sequence[Span], watch: Watch, answer_seconds: float
    ) -> None:
        self._options = options
        self._folder = folder
        self._doubts = Doubts(spans, answer_seconds)
        self._watch = watch
        self._rows: Sequence[Row] = planned(folder)
        self._verdict = Verdict(jobs=len(self._rows))
        self.histories: dict[str, list[HistoryEntry]] = {}
        self._inputs: dict[str, Inputs] = {}
        self._paid: list[dict[str, Any]] = []

    def decide(self, wrong: Sequence[str] = ()) -> Verdict:
        """
        Args:
            wrong: what was seen to go wrong during the run.
        """
        verdict = self._verdict
        verdict.wrong += wrong
        self._watch.read_tasks()
        self._paid = self._watch.accepted()
        known = acknowledged(self._folder)
        parents = {job.id: job for job in self._watch.store.find_many(list(known)) if job}
        self._inputs = {job_id: self._rows[row].digests for job_id, row in known.items()}
        followed = Followed({name: (job, self._rows[known[name]].then) for name, job in parents.items()}, self._watch)
        verdict.lost += followed.lost
        verdict.wrong += followed.wrong
        verdict.jobs += len(followed.inputs)
        self._inputs |= followed.inputs
        jobs = parents | followed.jobs
        jobs_of = {inputs: job_id for job_id, inputs in self._inputs.items()}
        expected = Expected(self._folder, self._watch, jobs_of, followed.orphans)
        for job_id in self._inputs:
            self._check_record(job_id, jobs.get(job_id), expected)
        self._check_payments(jobs_of, jobs)
        for job in jobs.values():
            if job.status is Status.SUCCEEDED:
                self._check_picture(job)
        self._check_whole(len(known), jobs)
        verdict.doubt = self._doubts.found
        verdict.wrong += verdict.doubt.without_fault
        return verdict

    def _check_record(self, job_id: str, job: Job | None, expected: Expected) -> None:
        verdict = self._verdict
        if job is None:
            verdict.lost.append(f"{job_id}: acknowledged, and there is no record of it")
            return
        verdict.final[job.status] += 1
        why = f"{job.reason.kind}: {job.reason.message}" if job.reason else ""
        if not job.status.final:
            self._tell(job, verdict.lost, f"is still {job.status}, attempt {job.current}, due {job.due_at}")
        elif job.status is Status.PARKED:
            kind = job.reason.kind if job.reason else ""
            paid = self._paid_words(job_id)
            self._tell(job, verdict.parked, f"{why} [{paid}]")
            verdict.parked_as[f"{kind}, {paid.partition(':')[0]}"] += 1
        elif job.status is not Status.SUCCEEDED:
            self._tell(job, verdict.failed, why or job.status)
        if job.status.final and (problem := expected.problem(job)):
            self._tell(job, verdict.wrong, f"{problem}: {why}")
        self.histories[job_id] = history = self._watch.store.history(job_id)
        self._doubts.add(job_id, history, parked=_is_parked_as_unsure(job))
        self._check_history(job, history)

    def _paid_words(self, job_id: str) -> str:
        """What the API says of a job that blendq was not sure of."""
        paid = [entry for entry in self._paid if paid_for(entry) == self._inputs[job_id]]
        ends = [self._watch.gone.why.get(entry["task_id"], "alive or done") for entry in paid]
        return "paid for: " + ", ".join(ends) if paid else "not paid for"

    def _check_history(self, job: Job, entries: Sequence[HistoryEntry]) -> None:
        """I6: one success a job. What was finished stays finished."""
        wins = [entry for entry in entries if entry.after is Status.SUCCEEDED and entry.before is not Status.SUCCEEDED]
        if len(wins) > 1:
            self._tell(job, self._verdict.wrong, f"succeeded {len(wins)} times")

    def _check_payments(self, jobs_of: Mapping[tuple[str, ...], str], jobs: Mapping[str, Job]) -> None:
        paid: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        for entry in self._paid:
            paid[paid_for(entry)].append(entry)
        for inputs, entries in paid.items():
            for earlier, later in itertools.pairwise(entries):
                self._check_pair(jobs.get(jobs_of.get(inputs, "")), earlier, later)

    def _check_pair(self, job: Job | None, earlier: Mapping[str, Any], later: Mapping[str, Any]) -> None:
        """A second payment is right only where the first task was no more when it was made."""
        verdict, gone = self._verdict, self._watch.gone
        task, at = earlier["task_id"], accepted_at(dict(later))
        if gone.since.get(task, float("inf")) <= at + SAME_MOMENT_SECONDS:
            verdict.paid_again[gone.why[task]] += 1
            return
        if self._options.on_queued == "resubmit" and job is not None and job.queued_answers:
            verdict.paid_again["the user chose to resubmit after a 22"] += 1
            return
        line = f"paid for {task} ({earlier['token']}) and, at {later['at']}, for {later['task_id']} ({later['token']})"
        if job is None:
            verdict.double_paid.append(f"a job that was not acknowledged: {line}")
        else:
            self._tell(job, verdict.double_paid, line)

    def _check_picture(self, job: Job) -> None:
        digest = (job.picture.digest if job.picture else "").removeprefix("sha256:")
        path = self._folder / "data" / "images" / digest[:2] / digest
        try:
            with Image.open(path) as picture:
                picture.load()
                made_from = str(picture.info.get(INPUTS_KEY, ""))
        except (OSError, SyntaxError) as error:
            self._tell(job, self._verdict.wrong, f"succeeded, but its picture is not there: {error}")
            return
        if tuple(made_from.split(",")) != self._inputs[job.id][:PICTURES]:
            self._tell(job, self._verdict.wrong, "has the picture of another job")

    def _check_whole(self, known: int, jobs: Mapping[str, Job]) -> None:
        verdict = self._verdict
        if known < len(self._rows):
            verdict.wrong.append(f"the producer could enqueue {known} of {len(self._rows)} jobs only")
        if verdict.lost:
            return
        if held := self._watch.store.throttle.slots_held():
            verdict.wrong.append(f"every job has ended, and {held} slots are still held")
        counts = self._watch.store.counts()
        for name in ("working", "waiting_there"):
            if left := counts.get(name, 0):
                verdict.wrong.append(f"every job has ended, and {left} count as {name}")
        told = {status: counts.get(status, 0) for status in Status if counts.get(status, 0)}
        if known == len(self._rows) and told != dict(Counter(job.status for job in jobs.values())):
            verdict.wrong.append(f"the counts say {told}")

    def _tell(self, job: Job, where: list[str], line: str) -> None:
        where.append(f"{job.id}: {line}")
        if job.id not in self._verdict.histories:
            entries = self._watch.store.history(job.id)
            self._verdict.histories[job.id] = [_line(entry) for entry in entries]


def _is_parked_as_unsure(job: Job) -> bool:
    return job.status is Status.PARKED and job.reason is not None and job.reason.kind == UNSURE


def _line(entry: HistoryEntry) -> str:
    before = f"{entry.before} " if entry.before else ""
    return f"{entry.at:%H:%M:%S.%f} {entry.event}: {before}-> {entry.after} {entry.detail}".rstrip()

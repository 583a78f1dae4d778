"""One run of a manifest: enqueued, worked on and exported."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from jobs.errors import BlendqError, StoreUnavailable, UpstreamRefused
from jobs.job import Status
from jobs.slots.pause import BUDGET, OWN_REASONS, Pause
from ops.cli.progress import Display, Progress, counted, finished, in_flight, open_display, total
from ops.cli.refreshing import Refreshing
from ops.cli.run_plan import RunPlan
from ops.local import LocalStack
from ops.notes import note
from producer.client import Producer
from producer.enqueued import Enqueued
from producer.results.export import ExportSummary, export, with_jobs
from producer.upstream import resume, upstream_names, why_nothing_goes

POLL_SECONDS = 0.25
BATCH_ROWS = 500
# It is of interest how fast so many are enqueued.
MANY_ROWS = 1000
# A server that was killed is back in a moment; one that stays away this long needs a person.
SERVER_PATIENCE_SECONDS = 30.0
INTERRUPTED = 130
SOME_FAILED = 3


@dataclass
class Outcome:
    """How a run went."""

    enqueued: int = 0
    done_before: int = 0
    reused: int = 0
    others: int = 0
    differences: str | None = None
    before: Mapping[str, int] = field(default_factory=dict)
    after: Mapping[str, int] = field(default_factory=dict)
    exported: ExportSummary | None = None
    refused: Pause | None = None
    paused: Pause | None = None
    interrupted: bool = False
    seconds: float = 0.0
    data_dir: Path = Path()

    @property
    def word(self) -> str:
        ways = {"interrupted": self.interrupted, "refused": self.refused, "paused": self.paused}
        return next((word for word, so in ways.items() if so), "finished")

    @property
    def exit_code(self) -> int:
        if self.interrupted:
            return INTERRUPTED
        if self.refused:
            return BlendqError.exit_code if self.refused.kind in OWN_REASONS else UpstreamRefused.exit_code
        done = self.exported
        whole = done and done.counts.get(Status.SUCCEEDED, 0) == done.total == done.written + done.unchanged
        return 0 if whole else SOME_FAILED

    def since(self, name: str) -> int:
        return self.after.get(name, 0) - self.before.get(name, 0)


def carry_out(plan: RunPlan, began: float) -> Outcome:
    outcome = Outcome()
    with LocalStack(plan.settings, plan.sandbox) as stack:
        outcome.data_dir = stack.settings.data_dir
        stack.start_server()
        with Producer(stack.settings) as producer, Enqueued(outcome.data_dir, plan.out) as enqueued:
            outcome.before = producer.store.counts(plan.campaign)

            def write() -> ExportSummary:
                entries = with_jobs(enqueued.entries(), producer.store)
                return export(entries, producer.store, producer.images, plan.out, plan.form, enqueued.sources)

            try:
                _enqueue(plan, producer, outcome, enqueued)
                _work(plan, stack, producer, outcome, Refreshing(write))
            except KeyboardInterrupt:
                outcome.interrupted = True
                note("stopping; Ctrl-C once more stops at once")
            stack.stop_rest()
            outcome.after = producer.store.counts(plan.campaign)
            if outcome.enqueued == plan.total:  # half a list would look like a whole one
                outcome.exported = write()
                outcome.differences = enqueued.differences(plan.source)
    outcome.seconds = time.monotonic() - began
    return outcome


def _enqueue(plan: RunPlan, producer: Producer, outcome: Outcome, enqueued: Enqueued) -> None:
    # A run is a person's wish to try again, so it lifts what an earlier wrong key has stopped.
    resume(producer.store, upstream_names(producer.store, producer.settings))
    _change_plan(plan, producer)
    began = time.monotonic()
    rows = counted(plan.rows(), lambda count, seconds: _rate(f"{count:,} of {plan.total:,}", count, seconds))
    new, unfinished = 0, set[str]()
    while batch := list(islice(rows, BATCH_ROWS)):
        requests, takes = [stored.request for _, stored in batch], [stored.take for _, stored in batch]
        pairs = producer.enqueue_batch(requests, campaign=plan.campaign, takes=takes, reuse=plan.reuse)
        for (told, _), (job, created) in zip(batch, pairs, strict=True):
            enqueued.add(told, job.id)
            outcome.reused += created and job.reused_from is not None
            outcome.done_before += not created and job.status.final
            new += created and not job.status.final
            if not created and not job.status.final:
                unfinished.add(job.id)
        outcome.enqueued += len(pairs)
    if outcome.enqueued >= MANY_ROWS:
        note(_rate(f"{outcome.enqueued:,}", outcome.enqueued, time.monotonic() - began))
    counts = producer.store.counts(plan.campaign)
    if total(counts) - finished(counts) > new + len(unfinished):
        _look_at_others(plan, producer, outcome, enqueued)


def _rate(what: str, count: int, seconds: float) -> str:
    return f"{what} rows enqueued ({count / max(seconds, 0.001):,.0f}/s)"


def _look_at_others(plan: RunPlan, producer: Producer, outcome: Outcome, enqueued: Enqueued) -> None:
    """The campaign has more than the rows: their follow-ups; or what was enqueued otherwise, or was a row once."""
    control = producer.campaign(plan.campaign)
    own = {job_id for _, job_id in enqueued.entries()}
    for job in control.jobs():
        if job.follows and job.follows.job_id in own:  # which was enqueued before it
            own.add(job.id)
        outcome.others += job.id not in own and not job.status.final
    if outcome.others and plan.cancel_others:
        ordered = control.cancel(but=own)
        note(f"{ordered.total} unfinished jobs of campaign {plan.campaign} that are not in {plan.source.name} given up")
    elif outcome.others:
        note(
            f"{outcome.others} unfinished jobs of campaign {plan.campaign} are not in {plan.source.name} (rows that "
            "were taken out, or jobs that were enqueued otherwise): they are submitted and paid for too. To give them "
            "up: Ctrl-C, and the same command with --cancel-others; or all: blendq campaign cancel " + plan.campaign
        )


def _change_plan(plan: RunPlan, producer: Producer) -> None:
    """Before the first job may go. A larger budget is a person's wish to go on."""
    if not plan.changes:
        return
    control = producer.campaign(plan.campaign)
    changed = control.change_plan(**plan.changes)
    paused = control.paused
    within = changed.reason_to_pause(producer.store.turns.counts(plan.campaign)) is None
    if "max_submissions" in plan.changes and paused and paused.kind == BUDGET and within:
        control.resume()


def _work(plan: RunPlan, stack: LocalStack, producer: Producer, outcome: Outcome, refreshing: Refreshing) -> None:
    counts = producer.store.counts(plan.campaign)
    if finished(counts) == total(counts):
        return  # nothing is left to do, so nothing more is started
    if (paused := producer.campaign(plan.campaign).paused) and not in_flight(counts):
        outcome.paused = paused
        return
    note(f"{total(counts) - finished(counts)} of {plan.total} to do as campaign {plan.campaign}; starting")
    stack.start_rest()
    with open_display() as display:
        _follow(plan.campaign, stack, producer, display, outcome, refreshing)


def _follow(
    campaign: str,
    stack: LocalStack,
    producer: Producer,
    display: Display,
    outcome: Outcome,
    refreshing: Refreshing,
) -> None:
    """Show how it goes on, until nothing is left; or until nothing more is submitted, and nothing is on its way."""
    began = seen = time.monotonic()
    control = producer.campaign(campaign)
    while True:
        for line in stack.watch():
            display.note(line)
        now = time.monotonic()
        try:
            counts, paused = producer.store.counts(campaign), control.paused
            refused = why_nothing_goes(producer.store, producer.settings)
            seen = now
        except StoreUnavailable:
            if now - seen > SERVER_PATIENCE_SECONDS:
                raise
        else:
            display.show(Progress(counts, outcome.before, now - began))
            if finished(counts) == total(counts):
                return
            if (refused or paused) and not in_flight(counts):
                outcome.refused, outcome.paused = refused, paused
                return
            refreshing.look(finished(counts))
        time.sleep(POLL_SECONDS)

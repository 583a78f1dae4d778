"""One run of a manifest: checked first, then enqueued, worked on and exported."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.errors import BlendqError, StoreUnavailable, UpstreamRefused, UsageError
from jobs.images import ImageStore
from jobs.job import Status
from jobs.pause import OWN_REASONS, Pause
from jobs.settings import Settings
from ops.cli.output import note
from ops.cli.progress import Display, Progress, finished, in_flight, open_display, total
from ops.local import LocalStack, SandboxChoice, sandbox_settings
from ops.ownership import data_dir_errors, make_data_dir
from producer.campaign import campaign_name, check_name
from producer.client import Producer
from producer.export import ExportSummary, export
from producer.manifest import Row, all_or_none, prepare, read_manifest

POLL_SECONDS = 0.25
BATCH_ROWS = 500
# A server that was killed is back in a moment; one that stays away this long needs a person.
SERVER_PATIENCE_SECONDS = 30.0
INTERRUPTED = 130
SOME_FAILED = 3


@dataclass(frozen=True)
class Plan:
    """What was asked for, checked: from here on nothing of it can be wrong."""

    settings: Settings
    sandbox: SandboxChoice | None
    campaign: str
    out: Path
    rows: Sequence[Row]
    prepared: Sequence[Row]


@dataclass
class Outcome:
    """How a run went."""

    entries: list[tuple[Row, str]] = field(default_factory=list)
    done_before: int = 0
    before: Mapping[str, int] = field(default_factory=dict)
    after: Mapping[str, int] = field(default_factory=dict)
    exported: ExportSummary | None = None
    refused: Pause | None = None
    interrupted: bool = False
    seconds: float = 0.0
    data_dir: Path = Path()

    @property
    def word(self) -> str:
        return "interrupted" if self.interrupted else "refused" if self.refused else "finished"

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


# Checking ----------------------------------------------------------------------------------------------------------


def make_plan(
    settings: Settings, choice: SandboxChoice | None, manifest: Path, campaign: str | None, out: Path
) -> Plan:
    """
    Raises:
        UsageError: the data folder, the folder for the pictures, or the campaign's name.
        ManifestError: the manifest, or any of its rows and pictures.
    """
    name = campaign_name(manifest) if campaign is None else check_name(campaign)
    own = sandbox_settings(settings, choice) if choice else settings
    make_data_dir(settings.data_dir)
    make_data_dir(own.data_dir)
    images = ImageStore(own.data_dir / "images", max_bytes=own.max_image_bytes, max_pixels=own.max_image_pixels)
    rows: list[Row] = []

    def remembered() -> Iterator[Any]:
        for row in read_manifest(manifest):
            if isinstance(row, Row):
                rows.append(row)
            yield row

    with data_dir_errors(own.data_dir):
        prepared = all_or_none(manifest, prepare(remembered(), images))
    _check_writable(out)
    return Plan(settings, choice, name, out, rows, prepared)


def _check_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UsageError(f"folder {out}: cannot be written ({error.strerror}); choose another with --out") from error


# Running -----------------------------------------------------------------------------------------------------------


def carry_out(plan: Plan, began: float) -> Outcome:
    outcome = Outcome()
    with LocalStack(plan.settings, plan.sandbox) as stack:
        outcome.data_dir = stack.settings.data_dir
        stack.start_server()
        with Producer(stack.settings) as producer:
            outcome.before = producer.store.counts(plan.campaign)
            try:
                _enqueue(plan, producer, outcome)
                _work(plan, stack, producer, outcome)
            except KeyboardInterrupt:
                outcome.interrupted = True
                note("stopping; Ctrl-C once more stops at once")
            stack.stop_rest()
            outcome.after = producer.store.counts(plan.campaign)
            if len(outcome.entries) == len(plan.rows):  # half a list would look like a whole one
                outcome.exported = export(outcome.entries, producer.store, producer.images, plan.out)
    outcome.seconds = time.monotonic() - began
    return outcome


def _enqueue(plan: Plan, producer: Producer, outcome: Outcome) -> None:
    # A run is a person's wish to try again, so it lifts what an earlier wrong key has stopped.
    producer.store.gate.resume()
    for start in range(0, len(plan.rows), BATCH_ROWS):
        rows = plan.rows[start : start + BATCH_ROWS]
        requests = [row.request for row in plan.prepared[start : start + BATCH_ROWS]]
        pairs = producer.enqueue_batch(requests, campaign=plan.campaign)
        outcome.entries += [(row, job.id) for row, (job, _) in zip(rows, pairs, strict=True)]
        outcome.done_before += sum(job.status.final for job, created in pairs if not created)


def _work(plan: Plan, stack: LocalStack, producer: Producer, outcome: Outcome) -> None:
    counts = producer.store.counts(plan.campaign)
    if finished(counts) == total(counts):
        return  # nothing is left to do, so nothing more is started
    note(f"{total(counts) - finished(counts)} of {len(plan.rows)} to do as campaign {plan.campaign}; starting")
    stack.start_rest()
    with open_display() as display:
        outcome.refused = _follow(plan.campaign, stack, producer, display, outcome.before)


def _follow(
    campaign: str, stack: LocalStack, producer: Producer, display: Display, before: Mapping[str, int]
) -> Pause | None:
    """Show how it goes on, until nothing is left; or until the API refuses us and nothing is on its way any more."""
    began = seen = time.monotonic()
    while True:
        for line in stack.watch():
            display.note(line)
        now = time.monotonic()
        try:
            counts, pause = producer.store.counts(campaign), producer.store.gate.paused()
            seen = now
        except StoreUnavailable:
            if now - seen > SERVER_PATIENCE_SECONDS:
                raise
        else:
            display.show(Progress(counts, before, now - began))
            if finished(counts) == total(counts):
                return None
            if pause and not in_flight(counts):
                return pause
        time.sleep(POLL_SECONDS)

"""A job and a campaign as text for people."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from jobs.attempt import Attempt
from jobs.doors import DEFAULT
from jobs.history import HistoryEntry
from jobs.job import Job
from jobs.report import source_name
from jobs.slots.plan import DEFAULT_PLAN, Plan
from producer.campaign import CampaignSummary
from producer.report import next_step
from producer.waiting import Waiting


def job_lines(
    job: Job,
    history: Sequence[HistoryEntry],
    picture: Path | None,
    follow_ups: Sequence[Job] = (),
    waiting: Waiting | None = None,
) -> Iterator[str]:
    """The whole of a job: a header, why it waits, its follow-ups, its attempts, its history."""
    yield f"{job.id}  {job.status}"
    yield ""
    yield from _columns([*_header(job, picture), *(("waits", why) for why in (waiting.lines() if waiting else ()))])
    if follow_ups:
        yield ""
        yield "Follow-ups"
        yield from (f"  {one.follows.label:<4} {one.id}  {one.status}" for one in follow_ups if one.follows)
    if job.attempts:
        yield ""
        yield "Attempts"
        for attempt in job.attempts:
            yield from _attempt(job, attempt)
    yield ""
    yield "History (UTC)"
    yield from _history(history)


def _header(job: Job, picture: Path | None) -> Iterator[tuple[str, str]]:
    request = job.request
    yield "campaign", job.campaign
    if request.custom_id:
        yield "custom id", request.custom_id
    if job.follows:
        yield "follows", f"{job.follows.label} of {job.follows.job_id}"
    options = [request.dimensions.value, request.bot_type.value, *request.modes]
    options += [f"account {request.instance_id}"] if request.instance_id else []
    options += [f"upstream {request.upstream}"] if request.upstream else []
    options += [f"priority {request.priority}"] if request.priority else []
    options += [f"then {' '.join(request.then)}"] if request.then else []
    yield "options", ", ".join(options)
    for number, image in enumerate(request.images, 1):
        yield f"image {number}", source_name(image)
    if request.state is not None:
        yield "state", request.state
    yield "created", _moment(job.created_at)
    if job.finished_at:
        yield "finished", f"{_moment(job.finished_at)}, after {_length(job.created_at, job.finished_at)}"
    sent = f"{job.commits} sent, {job.submissions} accepted and so paid for"
    yield "submissions", f"{sent}; answers 22: {job.queued_answers}"
    yield from _picture(job, picture)
    if job.reason:
        yield "reason", f"{job.reason.kind}: {job.reason.message}"
    if words := next_step(job):
        yield "next", words


def _picture(job: Job, picture: Path | None) -> Iterator[tuple[str, str]]:
    if job.picture:
        where = str(picture) if picture else "not in this machine's image store"
        yield "picture", f"{where} ({job.picture.width} x {job.picture.height}, {job.picture.bytes:,} bytes)"
    yield from _outcome(job)


def _outcome(job: Job) -> Iterator[tuple[str, str]]:
    if job.seed:
        yield "seed", job.seed
    if job.reused_from:
        yield "reused from", f"{job.reused_from}: nothing was paid for this one"


def _attempt(job: Job, attempt: Attempt) -> Iterator[str]:
    start = attempt.claimed_at
    steps = [f"{_moment(start)} by {attempt.worker or 'a worker of earlier'}"]
    if attempt.committed_at:
        steps.append(f"sent after {_length(start, attempt.committed_at)}")
    if attempt.answered_at:
        code = "" if attempt.code is None else f" with code {attempt.code}"
        steps.append(f"answered after {_length(start, attempt.answered_at)}{code}")
    door = job.door_of(attempt.number)
    to, current = "" if door == DEFAULT else f" to {door}", " (current)" if attempt.number == job.current else ""
    yield f"  {attempt.number}{to}{current}: {', '.join(steps)}"
    if attempt.description:
        yield f"     the API said: {clean(attempt.description)}"
    if attempt.task_id:
        progress = "" if attempt.progress is None else f" {attempt.progress}%"
        yield f"     task {clean(attempt.task_id)}: {attempt.seen or 'not seen yet'}{progress}"
    verdicts = {
        "refused: nothing was paid": attempt.refused,
        "unknown to the API: nothing was paid": attempt.gone,
        "cancelled there, to submit again": attempt.withdrawn,
    }
    for words in (words for words, holds in verdicts.items() if holds):
        yield f"     {words}"


def _history(history: Sequence[HistoryEntry]) -> Iterator[str]:
    """Each line with the time since the one before: where a job has spent its life is seen at a glance."""
    before: HistoryEntry | None = None
    for entry in history:
        since = f"+{_length(before.at, entry.at)}" if before else ""
        same = entry.before in (None, entry.after)
        status = f"{entry.after}" if same else f"{entry.before} → {entry.after}"
        detail = clean(entry.detail)
        new_day = before is None or before.at.date() != entry.at.date()
        if new_day:
            yield f"  {entry.at.astimezone(UTC):%Y-%m-%d}"
        yield (
            f"  {entry.at.astimezone(UTC):%H:%M:%S.%f}"[:-3]
            + f"  {since:>9}  {entry.event:<14} {status:<24} {detail}".rstrip()
        )
        before = entry


def campaign_lines(summary: CampaignSummary, failures: Sequence[Job]) -> Iterator[str]:
    """A campaign in numbers, and its newest failures."""
    noun = "job" if summary.total == 1 else "jobs"
    yield f"{summary.name}  {summary.total:,} {noun}, {summary.unfinished:,} unfinished"
    yield ""
    pairs = [("created", _moment(summary.created_at))]
    pairs += [(status.value, f"{count:,}") for status, count in summary.counts.items()]
    pairs += [
        ("submissions", f"{summary.submissions:,} accepted and so paid for"),
        ("resubmissions", f"{summary.resubmissions:,}"),
        ("answers 22", f"{summary.queued_answers:,}"),
    ]
    if summary.uncertain:
        pairs.append(("uncertain", f"{summary.uncertain:,} more that may have been accepted"))
    if summary.plan != DEFAULT_PLAN:
        pairs.append(("plan", plan_words(summary.plan)))
    if summary.pause:
        pairs.append(("paused", f"{summary.pause.kind}: {summary.pause.message} ({_moment(summary.pause.at)})"))
    yield from _columns(pairs)
    if failures:
        yield ""
        yield "Newest without a picture"
    for job in failures:
        name = f" ({clean(job.request.custom_id)})" if job.request.custom_id else ""
        words = f"{job.reason.kind}: {clean(job.reason.message)}" if job.reason else ""
        yield f"  {_moment(job.finished_at)}  {job.id}{name}  {job.status}  {words}".rstrip()


def campaign_table(summaries: Sequence[CampaignSummary]) -> Iterator[str]:
    """One line a campaign."""
    width = max((len(summary.name) for summary in summaries), default=0)
    for summary in summaries:
        counts = ", ".join(f"{count:,} {status}" for status, count in summary.counts.items())
        yield f"{summary.name:<{width}}  {_moment(summary.created_at)}  {counts}"


def plan_words(plan: Plan) -> str:
    budget = "no budget" if plan.max_submissions is None else f"at most {plan.max_submissions:,} submissions"
    bound = plan.stop_after_failures
    failures = "no bound on failures" if bound is None else f"pauses when {bound:.0%} of the finished jobs failed"
    return f"weight {plan.weight:g}, {budget}, {failures}"


def clean(text: str) -> str:
    """Words of others, on one line, and without what would steer the terminal."""
    return "".join(" " if unicodedata.category(character)[0] in "CZ" else character for character in text)


def _columns(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    pairs = list(pairs)
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        yield f"  {name:<{width}}  {clean(value)}"


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _length(start: datetime, end: datetime) -> str:
    seconds = (end - start).total_seconds()
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"

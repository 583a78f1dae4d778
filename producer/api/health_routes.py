"""/livez, /readyz and /metrics: for whoever watches over the process and the work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from jobs.job import Status
from producer.api.parts import Blends
from producer.client import Producer
from producer.upstream import Upstream

router = APIRouter(tags=["health"])

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
# The name of the metric, that of the tally, and what it counts.
_COUNTERS = (
    ("submissions", "submissions", "Submissions known to be accepted, and so paid for."),
    ("resubmissions", "resubmissions", "Bodies sent after a job's first."),
    ("queued_answers", "queued_answers", "Answers 22."),
)


@router.get("/livez", response_class=PlainTextResponse)
async def livez() -> str:
    """The process answers."""
    return "ok\n"


@router.get("/readyz", response_class=PlainTextResponse)
def readyz(blends: Blends) -> str:
    """Jobs can be enqueued: Redis answers, and has its records; 503 otherwise."""
    blends.must_be_ready()
    return "ok\n"


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(blends: Blends) -> PlainTextResponse:
    """For Prometheus. Counts are those of the records, so they go down when finished jobs are purged."""
    return PlainTextResponse("".join(f"{line}\n" for line in _metrics(blends)), media_type=_TEXT)


def _metrics(blends: Producer) -> Iterator[str]:
    counts = blends.store.counts()
    by_status = [(f'{{status="{status}"}}', counts.get(status, 0)) for status in Status]
    yield from _gauge("blendq_jobs", "Jobs by status.", by_status)
    for name, tally, words in _COUNTERS:
        yield from _gauge(f"blendq_{name}", words, [("", counts.get(tally, 0))])
    yield from _gauge("blendq_uncertain", "Bodies that may have been accepted.", [("", counts.get("uncertain", 0))])
    yield from _upstream(Upstream.of(blends.store, blends.settings))
    paused = blends.store.gate.paused()
    yield from _gauge(
        "blendq_paused", "1 while submitting is stopped for all campaigns.", [("", int(paused is not None))]
    )


def _upstream(api: Upstream) -> Iterator[str]:
    yield from _gauge("blendq_slots", "Jobs that may be at the API at once: found, or set.", [("", api.slots)])
    yield from _gauge("blendq_slots_held", "Jobs that hold a slot.", [("", api.seen.held)])
    yield from _gauge("blendq_working", "Tasks seen to be worked on.", [("", api.seen.working)])
    yield from _gauge("blendq_waiting_there", "Tasks known to wait at the API.", [("", api.seen.waiting)])
    kinds = [(f'{{kind="{kind}"}}', count) for kind, count in sorted(api.answers.items())]
    yield from _gauge("blendq_answers_last_hour", "Answers to submissions, by kind.", kinds)


def _gauge(name: str, words: str, values: Iterable[tuple[str, int]]) -> Iterator[str]:
    """In Prometheus' text format, 0.0.4."""
    yield f"# HELP {name} {words}"
    yield f"# TYPE {name} gauge"
    for labels, value in values:
        yield f"{name}{labels} {value}"

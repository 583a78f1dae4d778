"""/livez, /readyz and /metrics: for whoever watches over the process and the work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from jobs.job import Status
from producer.api.parts import Blends
from producer.client import Producer
from producer.upstream import DoorReport, reports, why_nothing_goes

router = APIRouter(tags=["health"])

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
# The name of the metric, that of the tally, and what it counts.
_COUNTERS = (
    ("submissions", "submissions", "Submissions known to be accepted, and so paid for."),
    ("resubmissions", "resubmissions", "Bodies sent after a job's first."),
    ("queued_answers", "queued_answers", "Answers 22."),
)
# The same, of what is at each API.
_OF_A_DOOR: tuple[tuple[str, str, Callable[[DoorReport], int]], ...] = (
    ("blendq_slots", "Jobs that may be at the API at once: found, or set.", lambda door: door.slots),
    ("blendq_slots_held", "Jobs that hold a slot.", lambda door: door.seen.held),
    ("blendq_working", "Tasks seen to be worked on.", lambda door: door.seen.working),
    ("blendq_waiting_there", "Tasks known to wait at the API.", lambda door: door.seen.waiting),
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
    apis = reports(blends.store, blends.settings)
    yield from _doors([door for api in apis for door in (api.door, *api.others)])
    pauses = [(f'{{upstream="{api.name}"}}', int(api.pause is not None)) for api in apis]
    yield from _gauge("blendq_upstream_paused", "1 while an API is given no jobs.", pauses)
    paused = why_nothing_goes(blends.store, blends.settings)
    yield from _gauge(
        "blendq_paused", "1 while submitting is stopped for all campaigns.", [("", int(paused is not None))]
    )


def _doors(doors: Sequence[DoorReport]) -> Iterator[str]:
    """By upstream; jobs that only some of its accounts may take stand by themselves, as `name/FAST`."""
    for name, words, value in _OF_A_DOOR:
        yield from _gauge(name, words, [(f'{{upstream="{door.name}"}}', value(door)) for door in doors])
    kinds = [
        (f'{{upstream="{door.name}",kind="{kind}"}}', count)
        for door in doors
        for kind, count in sorted(door.answers.items())
    ]
    yield from _gauge("blendq_answers_last_hour", "Answers to submissions, by kind.", kinds)


def _gauge(name: str, words: str, values: Iterable[tuple[str, int]]) -> Iterator[str]:
    """In Prometheus' text format, 0.0.4."""
    yield f"# HELP {name} {words}"
    yield f"# TYPE {name} gauge"
    for labels, value in values:
        yield f"{name}{labels} {value}"

"""/v1/events: what becomes of jobs, as server-sent events (WHATWG HTML, 9.2), to be gone on with by Last-Event-ID."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from jobs.errors import BlendqError, ChangesMissed
from jobs.store import JobStore
from jobs.telling.changes import Changed, place_of, present
from producer.api.follower import PAGE, Follower, Subscription, Wanted
from producer.api.parts import Blends, JobId, known
from producer.api.problems import Refused

router = APIRouter(tags=["events"])

# So each job is told of at most twice a second.
INTERVAL_SECONDS = 0.5
HEARTBEAT_SECONDS = 15.0
MAX_STREAMS = 256
# Then the caller comes again by itself, and its token is looked at again.
MAX_STREAM_SECONDS = 3600.0
_log = logging.getLogger(__name__)
_PLACE = re.compile(r"\d{1,15}-\d{1,15}(\.\d{1,3})?")
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`job` events, whose data is `id`, `campaign_id`, `status` and `progress` (percent, or null); "
        "and `missed`, when some are gone: then read the jobs again.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


async def _last_event_id(request: Request) -> str | None:
    given = request.headers.get("last-event-id") or None
    if given is not None and not _PLACE.fullmatch(given):
        raise Refused(HTTPStatus.BAD_REQUEST, "last_event_id", "Last-Event-ID is not the id of an event of this stream")
    return given


async def _follower(request: Request) -> Follower:
    follower = request.app.state.follower
    assert isinstance(follower, Follower)  # noqa: S101  (from `make_app`)
    if len(follower) >= MAX_STREAMS:
        words = f"{MAX_STREAMS} streams are open already"
        raise Refused.later(HTTPStatus.SERVICE_UNAVAILABLE, "busy", words)
    return follower


LastEventId = Annotated[str | None, Depends(_last_event_id)]
Followed = Annotated[Follower, Depends(_follower)]


@router.get("/v1/events", response_class=StreamingResponse, responses=_STREAM)
async def all_events(
    blends: Blends,
    follower: Followed,
    last: LastEventId,
    campaign: Annotated[str | None, Query(max_length=64, description="only of this one's jobs")] = None,
) -> StreamingResponse:
    """Follow all jobs, or a campaign's, from now on; with `Last-Event-ID` from where you were."""

    def wanted(change: Changed) -> bool:
        return campaign is None or change.campaign == campaign

    return _stream(_events(blends.store, follower, wanted, last, None))


@router.get("/v1/jobs/{job_id}/events", response_class=StreamingResponse, responses=_STREAM)
async def job_events(blends: Blends, follower: Followed, last: LastEventId, job_id: JobId) -> StreamingResponse:
    """Follow one job: how it is now, and what becomes of it."""
    await run_in_threadpool(known, blends, job_id)
    return _stream(_events(blends.store, follower, lambda change: change.job_id == job_id, last, job_id))


def _stream(events: AsyncIterator[str]) -> StreamingResponse:
    return StreamingResponse(events, media_type="text/event-stream", headers=_HEADERS)


async def _events(
    store: JobStore, follower: Follower, wanted: Wanted, last: str | None, job_id: str | None
) -> AsyncIterator[str]:
    """First what came before this begins to follow, then what comes; nothing twice, and nothing left out in between."""
    subscription = await follower.subscribe(wanted)
    try:
        place = await run_in_threadpool(store.newest_change) if last is None else last
        yield ": hello\n\n"
        if job_id is not None and last is None:
            yield _event(present(await run_in_threadpool(store.get, job_id), place))
        try:
            while earlier := await run_in_threadpool(store.changes, place, PAGE):
                place = earlier[-1].id
                for change in filter(wanted, earlier):
                    yield _event(change)
        except ChangesMissed:
            place = await run_in_threadpool(store.newest_change)
            yield _missed(place)
        async for event in _live(follower, subscription, place):
            yield event
    except BlendqError as error:
        _log.warning("a stream of events ends: %s", error)
    finally:
        follower.unsubscribe(subscription)


async def _live(follower: Follower, subscription: Subscription, place: str) -> AsyncIterator[str]:
    ends_at = time.monotonic() + MAX_STREAM_SECONDS
    while not follower.left.is_set() and time.monotonic() < ends_at:
        try:
            await asyncio.wait_for(subscription.news.wait(), HEARTBEAT_SECONDS)
        except TimeoutError:
            yield ": still here\n\n"
            continue
        changes = [change for change in subscription.take() if place_of(change.id) > place_of(place)]
        for change in changes:
            yield _event(change)
        place = changes[-1].id if changes else place
        if subscription.missed:
            yield _missed(place)
            subscription.missed = False
        with suppress(TimeoutError):
            await asyncio.wait_for(follower.left.wait(), INTERVAL_SECONDS)


def _event(change: Changed) -> str:
    data = {
        "id": change.job_id,
        "campaign_id": change.campaign,
        "status": change.status,
        "progress": change.progress,
    }
    return f"id: {change.id}\nevent: job\ndata: {json.dumps(data)}\n\n"


def _missed(place: str) -> str:
    return f"id: {place}\nevent: missed\ndata: {{}}\n\n"

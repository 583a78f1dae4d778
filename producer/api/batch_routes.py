"""/v1/jobs:batch: any number of jobs in one request, a line each; and a line of answer for each, in their order."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from jobs.errors import BlendqError
from jobs.job import Job
from jobs.settings import Settings
from producer.api.bodies import BatchJob, must_be
from producer.api.job_routes import DIGESTS
from producer.api.parts import Blends, model, takes
from producer.api.problems import Refused
from producer.client import Producer
from producer.enqueueing import BATCH_JOBS

router = APIRouter(tags=["jobs"])

NDJSON = "application/x-ndjson"
# Many callers send everything before they read anything: so many bytes of answers are kept for them meanwhile.
MAX_UNREAD_BYTES = 32 << 20
IDLE_SECONDS = 600.0

Line = tuple[int, bytes | None]


@router.post(
    "/v1/jobs:batch",
    openapi_extra=takes(NDJSON, model("BatchJob"), {"images": DIGESTS, "idempotency_key": "order-17"}),
    responses={200: {"description": "A line for each job.", "content": {NDJSON: {"schema": model("BatchAnswer")}}}},
    response_class=Response,
)
async def enqueue_batch(blends: Blends, request: Request) -> Response:
    """Enqueue any number of jobs: NDJSON, a job a line, each with its own `idempotency_key` if it is to have one.

    Answers come as the jobs are durable, a line for each and in their order: its `line`, counted from 1, and its `id`
    and `status`; or an `error`. A bad line holds up none of the others. Blank lines are passed over.
    """
    must_be(request, NDJSON)
    return _Answers(_answers(request, blends))


async def _answers(request: Request, blends: Producer) -> AsyncIterator[bytes]:
    """Reads on while the caller does not read, up to a limit: many callers do the one after the other."""
    unread = _Unread(MAX_UNREAD_BYTES)

    async def work() -> None:
        try:
            async for lines in _batches(request, blends.settings):
                await unread.put(await run_in_threadpool(_enqueue, blends, lines))
        finally:
            unread.end()

    task = asyncio.create_task(work())
    try:
        async for answer in unread:
            yield answer
        await task
    finally:
        task.cancel()


async def _batches(request: Request, settings: Settings) -> AsyncIterator[list[Line]]:
    """What has come so far, at once: whoever sends slowly is answered all the same, as long as whole lines come.

    Raises:
        TimeoutError: no job's line came in time.
    """
    reader, parts = _Lines(settings.service_max_body_bytes), request.stream()
    now = asyncio.get_running_loop().time
    due_at = now() + settings.service_body_seconds
    while (part := await _in_time(anext(parts, None), due_at)) is not None:
        lines = reader.feed(part) if part else reader.end()
        while batch := list(islice(lines, BATCH_JOBS)):
            yield batch
            if any(line is None or line.strip() for _, line in batch):  # blank ones are no work
                due_at = now() + settings.service_body_seconds


async def _in_time(coming: Awaitable[bytes | None], due_at: float) -> bytes | None:
    async with asyncio.timeout_at(due_at):
        return await coming


class _Lines:
    """Lines from pieces, each with its number; None for one that is longer than `most_bytes`."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._number = 0
        self._line: bytearray | None = bytearray()

    def feed(self, piece: bytes) -> Iterator[Line]:
        *ends, rest = piece.split(b"\n")
        for end in ends:
            self._add(end)
            yield self._whole()
        self._add(rest)

    def end(self) -> Iterator[Line]:
        """The last line need not be ended."""
        if self._line is None or self._line:
            yield self._whole()

    def _add(self, piece: bytes) -> None:
        if self._line is not None:
            self._line += piece
            if len(self._line) > self._most_bytes:
                self._line = None

    def _whole(self) -> Line:
        line, self._line = self._line, bytearray()
        self._number += 1
        return self._number, None if line is None else bytes(line)


class _Unread:
    """Answers that were not sent yet; more than `most_bytes` of them, and `put` waits."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._answers: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()

    async def put(self, answer: bytes) -> None:
        await asyncio.wait_for(self._room.wait(), IDLE_SECONDS)
        self._count(len(answer))
        self._answers.put_nowait(answer)

    def end(self) -> None:
        self._answers.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (answer := await self._answers.get()) is not None:
            yield answer
            self._count(-len(answer))

    def _count(self, more: int) -> None:
        self._bytes += more
        if self._bytes < self._most_bytes:
            self._room.set()
        else:
            self._room.clear()


class _Answers(Response):
    """Sends while the body still comes in: unlike a StreamingResponse it leaves the receiving to whoever reads that."""

    media_type = NDJSON

    def __init__(self, answers: AsyncIterator[bytes]) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        # Whoever hung up, or is silent for too long, gets no end, by which the answer is seen to be incomplete.
        with suppress(ClientDisconnect, TimeoutError):
            async for answer in self._answers:
                await send({"type": "http.response.body", "body": answer, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


# One batch, in a thread ----------------------------------------------------------------------------------------------


def _enqueue(blends: Producer, lines: Sequence[Line]) -> bytes:
    """The answers to some lines."""
    outcomes: dict[int, Job | Exception] = {}
    by_campaign: dict[str, list[tuple[int, BatchJob]]] = defaultdict(list)
    for number, line in lines:
        if line is not None and not line.strip():
            continue
        try:
            new = BatchJob.read_line(line)
            by_campaign[new.campaign].append((number, new))
        except (Refused, BlendqError) as error:
            outcomes[number] = error
    for campaign, some in by_campaign.items():
        outcomes |= zip((number for number, _ in some), _enqueued(blends, campaign, some), strict=True)
    return b"".join(_answer(number, outcomes[number]) for number in sorted(outcomes))


def _enqueued(blends: Producer, campaign: str, some: Sequence[tuple[int, BatchJob]]) -> Sequence[Job | Exception]:
    requests = [new.request for _, new in some]
    try:
        return blends.enqueue_each(requests, [new.idempotency_key for _, new in some], campaign=campaign)
    except (BlendqError, OSError) as error:
        return [error] * len(some)


def _answer(number: int, outcome: Job | Exception) -> bytes:
    told: dict[str, Any] = {"line": number}
    if isinstance(outcome, Job):
        told |= {"id": outcome.id, "status": outcome.status, "custom_id": outcome.request.custom_id}
    else:
        refused = Refused.of(outcome)
        told["error"] = {"code": refused.code, "detail": str(refused), "retryable": refused.retryable}
    return json.dumps(told, ensure_ascii=False).encode() + b"\n"

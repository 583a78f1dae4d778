"""The calls that submit: `/mj/submit/…`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ops.sandbox import answers
from ops.sandbox.changes import read_action, read_change
from ops.sandbox.desk import Desk
from ops.sandbox.draft import Draft
from ops.sandbox.replies import Told, answered
from ops.sandbox.sandbox import Sandbox
from ops.sandbox.submission import Refused, Unreadable, read_object
from ops.sandbox.tasks import TaskMemory


class Submissions:
    """Reads the whole body before anything else: a body that never arrives whole leaves no trace but a count.

    Args:
        turned_away: answers a request whose key does not fit.
    """

    def __init__(self, sandbox: Sandbox, turned_away: Callable[[Request], Response | None]) -> None:
        self._box = sandbox
        self._desk = Desk(sandbox)
        self._turned_away = turned_away

    async def blend(self, request: Request) -> Response:
        body = await self._whole_body(request)
        if body is None:
            return Response(status_code=400)  # nobody is there to read it
        return await self._tell(self._denied(request) or await self._desk.blend(body))

    async def action(self, request: Request) -> Response:
        return await self._change(request, read_action)

    async def change(self, request: Request) -> Response:
        return await self._change(request, read_change)

    async def _change(self, request: Request, read: Callable[[dict[str, Any], TaskMemory], Draft]) -> Response:
        body = await self._whole_body(request)
        if body is None:
            return Response(status_code=400)
        if early := self._denied(request) or self._desk.stopped_before():
            return await self._tell(early)
        try:
            draft = read(read_object(body), self._box.memory)
        except Unreadable:
            return await self._tell(self._desk.unreadable(request.url.path))
        except Refused as refusal:
            return await self._tell(answered(answers.refused(refusal)))
        return await self._tell(await self._desk.submit(draft))

    def _denied(self, request: Request) -> Told | None:
        response = self._turned_away(request)
        return Told(f"http {response.status_code}", response) if response is not None else None

    async def _tell(self, told: Told) -> Response:
        await asyncio.sleep(self._box.faults.hang_seconds)
        self._box.ledger.answer(told.label)
        return told.response

    async def _whole_body(self, request: Request) -> bytes | None:
        try:
            return await request.body()
        except ClientDisconnect:
            self._box.ledger.incomplete_body()
            return None

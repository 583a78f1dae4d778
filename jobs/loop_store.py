"""LoopStore: the store, for an event loop: what takes time there is asked over a `Link`, and holds nobody up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from redis.exceptions import NoScriptError

from jobs.applying import Applied
from jobs.errors import StoreUnavailable
from jobs.events import Event
from jobs.link import Command, Link, answers_of
from jobs.records import NOTHING_KNOWN, RECORD, Known
from jobs.server import WRITE_RETRY_SECONDS, WRITE_TRIES, unavailable
from jobs.steps import Load, Orders, Save, Step, carried_out_by_a_loop
from jobs.store import JobStore, not_refused


class LoopStore:
    """
    Args:
        store: decides; it is never waited for.
        link: to the same server.
        ring: told of changes that have just been sent, before it is known whether they hold.

    Every method raises StoreUnavailable when Redis does not answer in time.
    """

    def __init__(self, store: JobStore, link: Link, ring: Callable[[Sequence[Applied]], None]) -> None:
        self._store = store
        self._link = link
        self._ring = ring

    async def apply_many(
        self, happened: Sequence[tuple[str, Event]], known: Mapping[str, Known] = NOTHING_KNOWN
    ) -> list[Applied | Exception]:
        """As `JobStore.apply_many`."""
        return await carried_out_by_a_loop(self._store.applying.steps(happened, known), self._ask)

    async def ping(self) -> None:
        """Raises StoreUnavailable when Redis does not answer."""
        await self._answers(self._link.ask([("PING",)]))

    def close(self) -> None:
        self._link.close()
        self._store.close()

    async def _ask(self, step: Step) -> Any:
        match step:
            case Load(job_ids):
                records = [("HMGET", self._store.keys.job(one), *RECORD) for one in job_ids]
                with unavailable():
                    return self._store.loaded(await self._link.ask([("TIME",), *records]))
            case Save():
                return await self._save(step)
            case Orders(count):
                (last,) = await self._answers(self._link.ask([("INCRBY", self._store.keys.order, count)]))
                return int(last) - count + 1

    async def _save(self, step: Save) -> Any:
        """A reply that was lost is asked for again."""
        for tries_left in reversed(range(WRITE_TRIES)):
            try:
                return await self._save_once(step)
            except StoreUnavailable:
                if not tries_left:
                    raise
            await asyncio.sleep(WRITE_RETRY_SECONDS)
        raise AssertionError("unreachable")  # pragma: no cover

    async def _save_once(self, step: Save) -> Any:
        script = self._store.save_script
        call = ("EVALSHA", script.sha, len(step.keys), *step.keys, *step.args)
        with unavailable():
            (answer,) = await self._sent(step, call)
            if isinstance(answer, NoScriptError):  # the server has been started again
                _, answer = await self._answers(self._sent(step, ("SCRIPT", "LOAD", str(script.script)), call))
            elif isinstance(answer, Exception):
                raise answer
            return not_refused(answer)

    def _sent(self, step: Save, *commands: Command) -> asyncio.Future[list[Any]]:
        """With whoever has something to do after this write woken up behind it."""
        saved = self._link.ask(commands)
        self._ring([Applied(write.read.job, write.written.job) for write in step.writes])
        return saved

    async def _answers(self, asked: asyncio.Future[list[Any]]) -> list[Any]:
        await asyncio.wait([asked])
        return answers_of(asked)

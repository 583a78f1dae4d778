"""A relay between two parts of the stack, in which connections break in every way that networks know.

All relays of a run share one thread with an event loop of its own; what is called from outside is handed over to it.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ops.chaos.wire import Address, Connection, Ill, Trouble, connect, either, reset_now

CHUNK_BYTES = 1 << 16
CALL_SECONDS = 5.0
LINGER_SECONDS = 5.0

_Result = TypeVar("_Result")


class RelayThread:
    """Runs the event loop of the relays; `call` runs something in it and waits for the result."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="relays", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(CALL_SECONDS)

    def call(self, function: Callable[[], _Result]) -> _Result:
        async def called() -> _Result:
            return function()

        return self.run(called())

    def close(self) -> None:
        self.run(_cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(CALL_SECONDS)
        if not self.loop.is_running():
            self.loop.close()


class Relay:
    """Listens on a port of its own and passes everything on.

    Args:
        thread: runs it.
        targets: where connections go, by turns; may be changed at any time with `lead_to`.
    """

    def __init__(self, thread: RelayThread, *targets: Address) -> None:
        self._thread = thread
        self._targets = targets
        self._turn = itertools.count()
        self._connections: set[Connection] = set()
        self._troubles: list[Trouble] = []
        self._flows = asyncio.Event()
        self._flows.set()
        self._server = thread.run(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=CHUNK_BYTES))
        self.port = int(self._server.sockets[0].getsockname()[1])

    def lead_to(self, *targets: Address) -> None:
        self._targets = targets

    def strike(self, trouble: Trouble) -> None:
        """Let a trouble begin."""
        self._thread.call(lambda: self._begin(trouble))

    def relieve(self, trouble: Trouble) -> None:
        """Let it end. Connections that it made useless are closed, as a keepalive would in the end."""
        self._thread.call(lambda: self._end(trouble))

    def cut(self) -> None:
        """Reset every connection."""
        self._thread.call(self._cut)

    def close(self) -> None:
        self._thread.call(self._server.close)
        self.cut()

    # In the loop -----------------------------------------------------------------------------------------------

    def _begin(self, trouble: Trouble) -> None:
        self._troubles.append(trouble)
        if trouble.ill is Ill.BLACK_HOLE:
            self._flows.clear()
        if trouble.ill is Ill.HALF_OPEN:
            for connection in self._connections:
                connection.deaf = True
        if trouble.ill is Ill.REFUSE:
            self._cut()

    def _end(self, trouble: Trouble) -> None:
        if trouble in self._troubles:
            self._troubles.remove(trouble)
        for connection in self._connections:
            connection.spare(trouble)
        if not self._has(Ill.BLACK_HOLE):
            self._flows.set()
        if trouble.ill is Ill.HALF_OPEN:
            for connection in [one for one in self._connections if one.deaf]:
                connection.reset()

    def _cut(self) -> None:
        for connection in list(self._connections):
            connection.reset()

    def _has(self, ill: Ill) -> bool:
        return any(trouble.ill is ill for trouble in self._troubles)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(writer)
        if self._has(Ill.REFUSE) or not self._targets:
            connection.reset()
            return
        self._connections.add(connection)
        try:
            await self._flows.wait()
            target = self._targets[next(self._turn) % len(self._targets)]
            far_reader, connection.far = await connect(target)
            await either(self._up(connection, reader), self._down(connection, far_reader))
            if connection.lingers:
                reset_now(connection.near)
                await asyncio.wait_for(far_reader.read(), LINGER_SECONDS)
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass
        finally:
            connection.reset() if connection.broken else connection.leave()
            self._connections.discard(connection)

    async def _up(self, connection: Connection, reader: asyncio.StreamReader) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await self._wait_a_moment()
            if connection.deaf:
                continue
            self._maybe_strike(connection, chunk)
            await connection.pass_up(chunk)
            if connection.broken:
                return

    async def _down(self, connection: Connection, reader: asyncio.StreamReader) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await self._wait_a_moment()
            if connection.deaf:
                continue
            await connection.pass_down(chunk)
            if connection.broken:
                return
        if connection.deaf:  # the far end left, and nobody says so
            await asyncio.Event().wait()

    async def _wait_a_moment(self) -> None:
        await self._flows.wait()
        if delay := sum(trouble.seconds for trouble in self._troubles if trouble.ill is Ill.DELAY):
            await asyncio.sleep(delay)

    def _maybe_strike(self, connection: Connection, chunk: bytes) -> None:
        """Let the request that begins with this chunk be the next victim, if one is wanted."""
        for trouble in self._troubles:
            if (
                trouble.count > 0
                and not connection.struck
                and trouble.only in chunk
                and connection.plan(trouble, chunk)
            ):
                trouble.count -= 1


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

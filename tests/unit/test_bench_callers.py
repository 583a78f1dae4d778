"""How the stand-in calls: over kept connections, none of which is used once it may be stale."""

from __future__ import annotations

import asyncio

import pytest

from ops.bench import ports
from ops.bench.callers import Callers


def test_connections_are_kept_until_they_are_closed() -> None:
    accepted: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        while await reader.readuntil(b"{}"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async def call(callers: Callers, url: str, answered: int) -> int:
        callers.call(url, b"{}")
        async with asyncio.timeout(10):
            while callers.codes[200] < answered:
                await asyncio.sleep(0)
        return len(accepted)

    async def run() -> list[int]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        callers = Callers(connections=1)
        found = [await call(callers, url, 1), await call(callers, url, 2)]
        callers.close()
        found.append(await call(callers, url, 3))
        callers.close()
        for writer in accepted:
            writer.close()
        server.close()
        return found

    assert asyncio.run(run()) == [1, 1, 2]


def test_whoever_is_to_be_called_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with ports.listener() as listening:
        ports.wait_for_listener(listening.getsockname()[1])
    monkeypatch.setattr(ports, "START_SECONDS", 0)
    with pytest.raises(TimeoutError, match="nobody listens"):
        ports.wait_for_listener(ports.free_port())

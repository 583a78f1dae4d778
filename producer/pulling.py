"""Pulled: what an asynchronous iterable gives, for a thread to go through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Pulled(Generic[T]):
    """Goes through an asynchronous iterable in its event loop, some at a time, as a thread asks for more.

    Args:
        source: what is gone through.
        count: how many are taken at a time; a thread and a loop that talk about each one would do little else.
        loop: where it runs.
    """

    def __init__(self, source: AsyncIterable[T], count: int, loop: asyncio.AbstractEventLoop) -> None:
        self._source = aiter(source)
        self._count = count
        self._loop = loop
        self._stopped = False
        self._taking: asyncio.Task[list[T]] | None = None

    def __iter__(self) -> Iterator[T]:
        """In the thread.

        Raises:
            concurrent.futures.CancelledError: it was stopped.
        """
        while some := asyncio.run_coroutine_threadsafe(self._some(), self._loop).result():
            yield from some

    def stop(self) -> None:
        """In the loop: the thread is given no more, and is kept waiting no longer."""
        self._stopped = True
        if self._taking is not None:
            self._taking.cancel()

    async def _some(self) -> list[T]:
        if self._stopped:
            raise asyncio.CancelledError
        self._taking = asyncio.current_task()
        some: list[T] = []
        while len(some) < self._count:
            try:
                some.append(await anext(self._source))
            except StopAsyncIteration:
                break
        return some

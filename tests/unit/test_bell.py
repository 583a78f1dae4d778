"""Bell: what is asked of Redis after changes, and when a message of Celery's is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
import redis

from jobs.applying import Applied
from jobs.errands import COLLECTS, CONTROL, Errands
from jobs.job import Status
from jobs.keys import Keys
from jobs.link import Command, Link
from jobs.queue import Wakeups
from jobs.slots.gate import Gate
from tests.unit.test_waking import COLLECTING, job
from worker.bell import Bell

KEYS = Keys()
ENDED = Applied(job(Status.RUNNING), COLLECTING)
FREED = Applied(job(Status.SUBMITTING), job(Status.WAITING))


class Heard:
    """A link that answers as it was told, wake-ups that are kept, and the errands of a Redis that is never asked."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.errands = Errands(redis.Redis(), KEYS)
        self.asked: list[str] = []
        self.called: list[str] = []
        self._answers = answers

    def ask(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        self.asked.append(" ".join(map(str, commands[0])))
        answer = self._answers[str(commands[0][1])]
        done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        if isinstance(answer, Exception):
            done.set_exception(answer)
        else:
            done.set_result(answer)
        return done

    def call(self, queue: str) -> None:
        self.called.append(queue)


def rung(answers: dict[str, Any], *changes: Applied) -> Heard:
    heard: Any = Heard(answers)

    async def ring() -> None:
        bell = Bell(cast(Link, heard), Gate(redis.Redis(), KEYS, lambda _: []), cast(Wakeups, heard))
        bell.ring(changes)
        for _ in range(3):  # what is answered is heard of in the loop's next turn
            await asyncio.sleep(0)
        bell._messages.shutdown()

    asyncio.run(ring())
    return cast(Heard, heard)


ASKED, COLLECT, DISPATCH = KEYS.dispatch_asked, KEYS.errands(COLLECTS), KEYS.errands(CONTROL)
NOBODY_WAITS, HANDED_OVER, ON_ITS_WAY = [1, 1, 0], [1, 0, 0], [1, 1, 1]
PUT = [f"LLEN {COLLECT}", f"SET {ASKED} 1 NX PX 1000", f"RPUSH {DISPATCH} all"]


@pytest.mark.parametrize(
    ("changes", "answers", "asked", "called"),
    [
        ([ENDED], {COLLECT: NOBODY_WAITS, ASKED: [b"OK"], DISPATCH: NOBODY_WAITS}, PUT, [COLLECTS, CONTROL]),
        ([ENDED], {COLLECT: HANDED_OVER, ASKED: [b"OK"], DISPATCH: ON_ITS_WAY}, PUT, []),
        ([ENDED], {COLLECT: NOBODY_WAITS, ASKED: [None]}, PUT[:2], [COLLECTS]),
        ([FREED], {ASKED: [b"OK"], DISPATCH: NOBODY_WAITS}, PUT[1:], [CONTROL]),
        ([Applied(COLLECTING, COLLECTING)], {}, [], []),
    ],
    ids=["nobody waits", "somebody waits, or was called", "somebody has asked", "a slot alone", "nothing new"],
)
def test_what_is_asked_and_who_is_called(
    changes: list[Applied], answers: dict[str, Any], asked: list[str], called: list[str]
) -> None:
    heard = rung(answers, *changes)
    assert (heard.asked, heard.called) == (asked, called)


def test_a_redis_that_is_away_or_refuses_is_told_once_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    away = redis.ConnectionError("gone")
    refused = [redis.exceptions.NoPermissionError("no"), 1, 0]
    heard = rung({COLLECT: refused, ASKED: away}, ENDED, ENDED)
    assert heard.called == []
    assert caplog.text.count("nobody was woken up") == 1

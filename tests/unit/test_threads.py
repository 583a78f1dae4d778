"""The pool of a worker's threads."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from kombu.asynchronous import Hub, get_event_loop, set_event_loop
from kombu.asynchronous.timer import Timer

from worker.threads import Threads

# Celery's loop looks again after so long by itself, where no timer is due.
BY_ITSELF_SECONDS = 10.0
DEADLINE_SECONDS = BY_ITSELF_SECONDS / 2


@pytest.fixture
def loop() -> Iterator[Hub]:
    before = get_event_loop()
    loop = set_event_loop(Hub(timer=Timer(max_interval=1000.0)))
    loop.call_later(1000.0, lambda: None)
    yield loop
    loop.close()
    set_event_loop(before)


@pytest.mark.parametrize("lost", [0, 1])
def test_the_loop_is_told_when_a_thread_is_free(loop: Hub, lost: int) -> None:
    """With one thread, the worker took its next message up to a second late: each time. And once a connection was lost,
    the loop was nobody's current one.
    """
    looked, ended, go_on = threading.Semaphore(0), threading.Event(), threading.Event()
    loop.on_tick.add(looked.release)
    turning = threading.Thread(target=lambda: [loop.run_once() for _ in range(2)])
    pool = Threads(1)
    pool.start()
    pool.register_with_event_loop(loop)
    for _ in range(lost):  # as Celery does then
        loop.reset()
        pool.register_with_event_loop(loop)
    ours, theirs = socket.socketpair()
    loop.add_reader(ours, lambda: None)  # without one it would sleep but a moment
    turning.start()
    assert looked.acquire(timeout=DEADLINE_SECONDS)

    pool.on_apply(go_on.wait, [DEADLINE_SECONDS], callback=lambda _: ended.set())
    assert not ended.is_set()
    go_on.set()

    assert looked.acquire(timeout=DEADLINE_SECONDS), "the loop still sleeps"
    assert ended.is_set(), "the task is crossed off before the loop looks"
    pool.stop()
    loop.call_soon(lambda: None)  # it need not sleep to the end
    turning.join()
    for end in (ours, theirs):
        end.close()

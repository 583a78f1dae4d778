"""LongRun: one start of a long run, from where the last one stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count, islice, permutations
from pathlib import Path
from types import TracebackType
from typing import Self

from jobs.job import Status
from jobs.request import BlendRequest
from jobs.server import connect
from jobs.settings import Settings
from ops.bench import kept, pictures
from ops.bench.long_run.apis import api_of
from ops.bench.long_run.judge import Verdict, judge
from ops.bench.long_run.plan import Plan, Stage
from ops.bench.long_run.samples import ENQUEUEING, WORKING, Recorder
from ops.bench.ours import SLOTS
from ops.local import LocalStack
from ops.ownership import Ownership
from producer.client import Producer

CAMPAIGN = "long-run"
SAMPLES = "samples.jsonl"
LOOK_SECONDS = 0.2


class LongRun:
    """The stack's server and the API run from entering to leaving; the rest while there is work.

    Args:
        folder: for everything.
        plan: as it was begun there.
        every_seconds: how often a sample is taken.
        until: by `time.monotonic`; then it stops, wherever it is.
    """

    def __init__(self, folder: Path, plan: Plan, every_seconds: float, until: float) -> None:
        self.events: list[str] = []
        self._folder = folder
        self._plan = plan
        self._every = every_seconds
        self._until = until
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            owner = exits.enter_context(Ownership(self._folder / "api"))
            self._api = api_of(self._plan, owner.data_dir, owner.reaper)
            exits.enter_context(self._api)
            self._stack = exits.enter_context(LocalStack(self._settings()))
            self._stack.start_server()
            self._producer = exits.enter_context(Producer(self._stack.settings))
            samples = self._folder / SAMPLES
            self._recorder = Recorder(samples, self._stack, self._api, self._counts, self._every)
            exits.callback(self._recorder.close)
            self._exits = exits.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._exits.__exit__(kind, error, at)

    def _settings(self) -> Settings:
        return Settings(
            data_dir=self._folder / "data",
            api_url=self._api.url,
            api_key="bench",
            public_url=f"http://127.0.0.1:{self._plan.receiver_port}",
            receiver_port=self._plan.receiver_port,
            slots=SLOTS if self._plan.speed is None else None,
            workers=self._plan.workers,
            worker_threads=self._plan.threads,
            allowed_networks="127.0.0.0/8",
        )

    def go_on(self) -> None:
        """Do what is left of the plan, as far as there is time."""
        self._keep()
        for stage in self._plan.stages:
            self._enqueue(stage)
            self._work(stage)

    def judge(self) -> Verdict:
        return judge(self._producer, self._api, CAMPAIGN)

    def _keep(self) -> None:
        store = self._producer.store
        known = store.counts(kept.CAMPAIGN).get(Status.SUCCEEDED, 0)
        if self._plan.kept and not known:
            kept.live(store, 0, 1)  # the others are copies of it
            known = 1
        if known < self._plan.kept:
            with connect(self._stack.settings.redis_address()) as client:
                kept.copy(store, client, known, self._plan.kept - known)

    def _enqueue(self, stage: Stage) -> None:
        known = sum(self._counts().values())
        if known >= stage.enqueued or self._late:
            return
        wanted = islice(self._requests(), known, stage.enqueued)
        self._recorder.begin(stage.number, ENQUEUEING)
        for _ in self._producer.enqueue_many(wanted, campaign=CAMPAIGN):
            self._recorder.look()
            if self._late:
                break
        self._recorder.end()

    def _requests(self) -> Iterator[BlendRequest]:
        """All of the plan's, in the same order each time; each is another blend of two pictures."""
        side = next(number for number in count(2) if number * (number - 1) >= self._plan.total)
        drawn = pictures.draw(self._folder / "pictures", side, self._plan.picture_bytes)
        digests = [self._producer.images.put_file(one).digest for one in drawn]
        return (BlendRequest(images=pair) for pair in permutations(digests, 2))

    def _work(self, stage: Stage) -> None:
        if not self._goes_on(stage):
            return
        self._stack.start_rest()
        try:
            done = self._counts().get(Status.SUCCEEDED, 0)
            while self._goes_on(stage) and self._counts().get(Status.SUCCEEDED, 0) == done:
                self._wait()  # what a start takes is no part of a job's cost
            self._recorder.begin(stage.number, WORKING)
            while self._goes_on(stage):
                self._wait()
                self._recorder.look()
            self._recorder.end()
        finally:
            self._stack.stop_rest()

    def _goes_on(self, stage: Stage) -> bool:
        counts = self._counts()
        left = any(counts.get(status, 0) for status in Status if not status.final)
        return left and counts.get(Status.SUCCEEDED, 0) < stage.finished and not self._late

    def _wait(self) -> None:
        self.events += self._stack.watch()
        time.sleep(LOOK_SECONDS)

    def _counts(self) -> dict[str, int]:
        counts = self._producer.store.counts(CAMPAIGN)
        return {status: counts[status] for status in Status if status in counts}

    @property
    def _late(self) -> bool:
        return time.monotonic() >= self._until

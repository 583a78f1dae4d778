"""Scheduler: enqueues what the clock asks for. Any number may run; one is enough, a second one stands by."""

from __future__ import annotations

import glob
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jobs.errors import BlendqError, ManifestError, ScheduleNotFound, ScheduleUnreadable, StoreUnavailable
from jobs.request import BlendRequest
from jobs.schedule import Outcome, Overlap, Ran, Schedule
from jobs.schedules import IN_HAND_SECONDS, Run, Schedules
from jobs.settings import Settings
from producer.campaign import summary
from producer.client import Producer
from producer.manifests.manifest import good_rows, read_manifest, with_known_upstreams

LOOK_SECONDS = 0.25
QUEUE_SECONDS = 2.0
# A scheduler that is there is at a run within that, so `--catch-up 0` leaves out what nobody was there for.
PROMPT_SECONDS = 5.0
HOLD_EVERY_SECONDS = IN_HAND_SECONDS / 3
MAX_MESSAGE_CHARACTERS = 500

_log = logging.getLogger(__name__)


class Scheduler:
    """
    Args:
        producer: what enqueues.
        schedules: where the schedules are.
    """

    def __init__(self, producer: Producer, schedules: Schedules) -> None:
        self._producer = producer
        self._schedules = schedules

    def run(self, leaving: threading.Event) -> None:
        """Until `leaving` is set. What cannot be done now, since Redis is away, or a schedule cannot be read, is done
        later.
        """
        trace = look_file(self._producer.settings)
        while not leaving.is_set():
            try:
                busy = self.step()
                trace.touch()
            except StoreUnavailable as error:
                _log.warning("schedules wait: %s", error)
                busy = False
            except ScheduleUnreadable as error:
                _log.error("%s", error)
                busy = True
            if not busy:
                leaving.wait(LOOK_SECONDS)

    def step(self) -> bool:
        """Do one run, if one is due; returns whether there was one.

        Raises:
            ScheduleUnreadable: its schedule cannot be read here; it is tried again in half a minute.
        """
        try:
            run = self._schedules.take()
        except ScheduleNotFound:
            return True  # removed in this very moment
        if run is None:
            return False
        try:
            ran = self.perform(self._schedules.get(run.schedule), run)
        except ScheduleNotFound as error:
            ran = Ran(at=run.at, outcome=Outcome.SKIPPED, message=str(error))
        if ran is not None:
            self._schedules.done(run, ran)
            _log.info("schedule=%s at=%s %s %s", run.schedule, run.at.isoformat(), ran.outcome, ran.message or ran.jobs)
        return True

    def perform(self, schedule: Schedule, run: Run) -> Ran | None:
        """What becomes of a run that was taken; None when it is to be looked at again later."""
        # The rest of what somebody began belongs to it, however late, and whatever the run before is at by now.
        if self._begun(schedule, run):
            return self._carry_out(schedule, run)
        # Of one that waits for another, as long as somebody looks at it, nobody can say that nobody was there.
        late = (self._schedules.now() - (run.held_until or run.at)).total_seconds()
        if late > max(schedule.catch_up_seconds, PROMPT_SECONDS):
            return Ran(at=run.at, outcome=Outcome.MISSED, message=f"nobody was there until {late:.0f} s later")
        if schedule.overlap is not Overlap.ALLOW:
            # Of a run that somebody has in hand nobody knows yet what becomes of it: nor whether to leave this one out.
            waits = self._schedules.waits_before(run)
            before = None if waits else self._unfinished_before(schedule, run)
            if waits or (before and schedule.overlap is Overlap.QUEUE):
                self._schedules.hold(run, QUEUE_SECONDS)
                return None
            if before:
                return Ran(at=run.at, outcome=Outcome.SKIPPED, message=f"campaign {before} is not finished yet")
        return self._carry_out(schedule, run)

    def _carry_out(self, schedule: Schedule, run: Run) -> Ran:
        campaign = schedule.campaign_of(run.at)
        try:
            with self._in_hand(run):
                count = self._enqueue(schedule, campaign)
        except StoreUnavailable:
            raise
        except (BlendqError, OSError) as error:
            words = " ".join(str(error).split())[:MAX_MESSAGE_CHARACTERS]
            return Ran(at=run.at, outcome=Outcome.FAILED, campaign=campaign, message=words)
        except Exception as error:  # noqa: BLE001  (it would end one scheduler after the other, and no schedule would run)
            _log.exception("schedule=%s at=%s failed", run.schedule, run.at.isoformat())
            words = f"unexpected {type(error).__name__}; the scheduler's log tells more"
            return Ran(at=run.at, outcome=Outcome.FAILED, campaign=campaign, message=words)
        return Ran(at=run.at, outcome=Outcome.ENQUEUED, campaign=campaign, jobs=count)

    def _begun(self, schedule: Schedule, run: Run) -> bool:
        """Whether somebody enqueued a part of it, and was lost."""
        return self._producer.store.campaign_began(schedule.campaign_of(run.at)) is not None

    def _unfinished_before(self, schedule: Schedule, run: Run) -> str | None:
        """The campaign of the run before, while it is not finished."""
        earlier = [ran for ran in self._schedules.runs(schedule.name) if ran.outcome is Outcome.ENQUEUED]
        for ran in reversed(earlier):
            if ran.campaign is None or ran.at >= run.at or self._producer.store.campaign_began(ran.campaign) is None:
                continue
            return ran.campaign if summary(self._producer.store, ran.campaign).unfinished else None
        return None

    @contextmanager
    def _in_hand(self, run: Run) -> Iterator[None]:
        """Meanwhile no other takes it for left undone, however long a picture takes to be read."""
        done = threading.Event()

        def hold() -> None:
            while not done.wait(HOLD_EVERY_SECONDS):
                with suppress(StoreUnavailable):
                    self._schedules.hold(run)

        thread = threading.Thread(target=hold, name="in hand", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _enqueue(self, schedule: Schedule, campaign: str) -> int:
        """
        Raises:
            BlendqError: the manifest or a picture of it is bad; nothing of it was enqueued.
        """
        root = None if schedule.root is None else Path(schedule.root)
        requests = [request for path in _manifests(schedule.manifest) for request in self._requests(path, root)]
        return sum(1 for _ in self._producer.enqueue_many(requests, campaign=campaign))

    def _requests(self, path: Path, root: Path | None = None) -> list[BlendRequest]:
        """Of one manifest, with every picture stored."""
        rows = self._producer.pictures(root).prepare(
            with_known_upstreams(read_manifest(path, root), self._producer.settings.upstream_names)
        )
        return [row.request for row in good_rows(str(path), rows)]


def look_file(settings: Settings) -> Path:
    """A scheduler touches it with each look, so that its age tells whether it works. Each machine has its own."""
    return settings.data_dir / f"scheduler-{socket.gethostname()}.look"


def _manifests(pattern: str) -> list[Path]:
    """The files that are there now, by name.

    Raises:
        ManifestError: there is none.
    """
    names = glob.glob(pattern) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207  (it is an absolute pattern)
    found = sorted(map(Path, names))
    if not found:
        raise ManifestError(f"{pattern}: there is no such file now")
    return found

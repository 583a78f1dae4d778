"""One fault run, from the start of the stack to the verdict. Bounded in time, whatever happens."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.job import Status
from ops.chaos import on_api, on_callbacks, on_data, on_lines, on_processes, on_redis, on_webhooks
from ops.chaos.judge import Judge, Verdict
from ops.chaos.options import Options
from ops.chaos.produce import acknowledged, plan
from ops.chaos.scene import Action, Scene
from ops.chaos.schedule import KINDS, Fault, draw
from ops.chaos.stack import Stack
from ops.chaos.strike import AWAY_LIMIT_SECONDS, Strike
from ops.chaos.traps import Traps
from ops.chaos.variants import VARIANTS
from ops.chaos.watch import Watch, accepted_at

ROOMS = (on_processes, on_redis, on_data, on_lines, on_api, on_callbacks, on_webhooks)
ACTIONS: dict[str, Action] = {kind: action for room in ROOMS for kind, action in room.ACTIONS.items()}
TICK_SECONDS = 0.1
# A fault whose share of acceptances is not reached in this time comes nevertheless: the ones before may be why.
IMPATIENCE_SECONDS = 4.0
# Longer than every patience of the scaled product: whoever has not moved by then never will.
STALL_SECONDS = 30.0
JOIN_SECONDS = 25.0


@dataclass
class Report:
    """All that is told of a run."""

    options: Options
    schedule: list[Fault]
    verdict: Verdict
    strikes: list[Strike] = field(default_factory=list)
    died_alone: list[str] = field(default_factory=list)
    would_not_leave: list[str] = field(default_factory=list)
    leaving_seconds: list[float] = field(default_factory=list)
    seconds: float = 0.0
    folder: Path | None = None

    @property
    def recovery(self) -> dict[str, float]:
        """The slowest for each kind of fault, in seconds from its end until some job moved on."""
        slowest: dict[str, float] = defaultdict(float)
        for strike in self.strikes:
            if strike.recovered_after is not None:
                slowest[strike.fault.kind] = max(slowest[strike.fault.kind], round(strike.recovered_after, 2))
        return dict(sorted(slowest.items()))

    def as_json(self) -> dict[str, Any]:
        verdict = self.verdict
        return {
            "seed": self.options.seed,
            "options": self.options.as_json(),
            "jobs": verdict.jobs,
            "final": dict(verdict.final),
            "lost": verdict.lost,
            "double_paid": verdict.double_paid,
            "wrong": verdict.wrong,
            "parked": verdict.parked,
            "parked_as": dict(verdict.parked_as),
            "doubt": verdict.doubt.as_json(),
            "failed": verdict.failed,
            "paid_again": dict(verdict.paid_again),
            "recovery_seconds": self.recovery,
            "died_alone": self.died_alone,
            "would_not_leave": self.would_not_leave,
            "leaving_seconds": self.leaving_seconds,
            "seconds": round(self.seconds, 1),
            "folder": None if self.folder is None else str(self.folder),
            "schedule": [fault.as_json() for fault in self.schedule],
            "strikes": [strike.as_json() for strike in self.strikes],
        }


class Run:
    """One run in a folder of its own."""

    def __init__(self, options: Options, folder: Path) -> None:
        self._options = options
        self._schedule = draw(options)
        self._folder = folder
        self._began, self._began_at = time.monotonic(), time.time()
        self._deadline = self._began + options.deadline_seconds
        self._strikes: list[Strike] = []
        self._threads: list[threading.Thread] = []
        self._moved_at = self._began
        self._marker: object = None
        self._counts: dict[str, int] = {}

    def go(self) -> Report:
        plan(self._folder, self._options.jobs, self._options.seed)
        with ExitStack() as exits:
            webhooks = any(fault.kind in on_webhooks.ACTIONS for fault in self._schedule)
            stack = exits.enter_context(Stack(self._options, self._folder, self._disks(), webhooks=webhooks))
            watch = Watch(self._folder, stack.address)
            exits.callback(watch.close)
            self._scene = Scene(stack, watch, Traps(self._folder / "traps"))
            self._prepare()
            self._play()
            self._heal()
            self._settle()
            self._await_notices()
            verdict = self._judged(stack, watch)
            report = Report(self._options, self._schedule, verdict, self._strikes)
            report.died_alone, report.would_not_leave = stack.died_alone, stack.would_not_leave
            report.leaving_seconds = stack.leaving_seconds
        report.seconds = self._now()
        return report

    def _judged(self, stack: Stack, watch: Watch) -> Verdict:
        spans = [strike.span(self._began_at, self._now()) for strike in self._strikes]
        judge = Judge(self._options, self._folder, spans, watch, stack.settings.answer_timeout_seconds)
        verdict = judge.decide(self._scene.wrong)
        if stack.endpoint is not None:
            verdict.wrong += on_webhooks.problems(stack.endpoint, judge.histories)
        accepted = [accepted_at(entry) for entry in watch.accepted()]
        for strike in self._strikes:
            strike.measure(self._began_at, accepted, judge.histories)
            if self._options.real_times:
                verdict.wrong += strike.too_slow()
        return verdict

    def _disks(self) -> set[str]:
        return {disk for fault in self._schedule if (disk := KINDS[fault.kind].disk)}

    def _prepare(self) -> None:
        """What a variant breaks beside the code of the product."""
        if self._options.broken and (command := VARIANTS[self._options.broken].server_command):
            with self._scene.admin() as admin:
                admin.execute_command(*command)

    # Playing ---------------------------------------------------------------------------------------------------

    def _play(self) -> None:
        waiting = list(self._schedule)
        while (
            waiting or self._running()
        ) and time.monotonic() < self._deadline - self._options.settle_seconds * self._options.pace:
            self._tick()
            if waiting and self._running() + self._recovering() < self._options.overlap and self._is_due(waiting[0]):
                self._begin(waiting.pop(0))
        for thread in self._threads:
            thread.join(max(0.1, min(JOIN_SECONDS, self._deadline - time.monotonic())))

    def _running(self) -> int:
        return sum(thread.is_alive() for thread in self._threads)

    def _recovering(self) -> int:
        """At real times a recovery is measured undisturbed, for as long as it may take."""
        if not self._options.real_times:
            return 0
        since = self._now() - AWAY_LIMIT_SECONDS
        return sum(s.ended is not None and s.ended > since and s.recovered_after is None for s in self._strikes)

    def _is_due(self, fault: Fault) -> bool:
        if self._scene.watch.count_accepted() >= fault.after:
            return True
        last = max([self._moved_at, *(self._began + strike.began for strike in self._strikes)])
        return time.monotonic() - last > IMPATIENCE_SECONDS * self._options.pace

    def _begin(self, fault: Fault) -> None:
        strike = Strike(fault, began=self._now())
        self._strikes.append(strike)
        thread = threading.Thread(target=self._strike, args=(strike,), name=fault.kind, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _strike(self, strike: Strike) -> None:
        try:
            with ACTIONS[strike.fault.kind](self._scene, strike.fault):
                strike.struck = self._now()
                time.sleep(strike.fault.lasts_seconds)
        except Exception as error:  # noqa: BLE001  (a fault that could not be played is told, and ends no run)
            strike.problem = f"{type(error).__name__}: {error}"
        strike.marker = self._marker
        strike.ended = self._now()

    def _tick(self) -> None:
        self._scene.stack.supervise()
        # While a fault holds the server, what answers may not be the one that has the records.
        counts = None if self._scene.stack.server_held else self._scene.watch.counts()
        if counts is not None:
            self._counts = dict(counts)
            marker = (self._scene.watch.count_accepted(), tuple(sorted(counts.items())))
            if marker != self._marker:
                self._marker, self._moved_at = marker, time.monotonic()
            self._note_recoveries()
        time.sleep(TICK_SECONDS)

    def _note_recoveries(self) -> None:
        for strike in self._strikes:
            if strike.ended is not None and strike.recovered_after is None and self._marker != strike.marker:
                strike.recovered_after = self._now() - strike.ended

    # Ending ----------------------------------------------------------------------------------------------------

    def _heal(self) -> None:
        stack = self._scene.stack
        for part in stack.parts.values():
            part.send(signal.SIGCONT)
        on_redis.heal(self._scene)
        stack.supervise()
        stack.lead_relays(10.0)
        stack.control("faults", method="DELETE")
        self._moved_at = time.monotonic()

    def _settle(self) -> None:
        pace = self._options.pace
        give_up_at = min(self._deadline, time.monotonic() + self._options.settle_seconds * pace)
        while time.monotonic() < min(give_up_at, self._moved_at + STALL_SECONDS * pace):
            self._tick()
            ended = sum(self._counts.get(status, 0) for status in Status if status.final)
            going = sum(self._counts.get(status, 0) for status in Status if not status.final)
            if self._scene.stack.parts["producer"].done and ended >= self._options.jobs and not going:
                return

    def _await_notices(self) -> None:
        """What the producer is told may come a little after the end; the judge says what did not."""
        endpoint, store = self._scene.stack.endpoint, self._scene.watch.store
        give_up_at = time.monotonic() + STALL_SECONDS * self._options.pace
        while endpoint is not None and time.monotonic() < give_up_at:
            self._tick()
            histories = {job_id: store.history(job_id) for job_id in acknowledged(self._folder)}
            if not on_webhooks.problems(endpoint, histories):
                return

    def _now(self) -> float:
        return time.monotonic() - self._began


def run(options: Options) -> Report:
    """Do a run. Its folder is kept when something is wrong, or when that was asked for."""
    folder = options.keep or Path(tempfile.mkdtemp(prefix="blendq-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        report = Run(options, folder).go()
    except KeyboardInterrupt:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    except BaseException as error:
        error.add_note(f"what the run left behind: {folder}")
        raise
    if report.verdict.good and options.keep is None:
        shutil.rmtree(folder, ignore_errors=True)
        return report
    report.folder = folder
    told = report.as_json() | {"histories": report.verdict.histories}
    (folder / "report.json").write_text(json.dumps(told, indent=1, default=str), encoding="utf-8")
    return report

"""The life of a task, from its place at an account to the picture or the failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ops.sandbox.accounts import Account, Accounts
from ops.sandbox.faults import Chance, Faults
from ops.sandbox.gallery import Gallery
from ops.sandbox.personalities import Personality
from ops.sandbox.tasks import Status, Task, TaskMemory, now_ms

FAIL_REASONS = ("任务超时", "Banned prompt", "Blocked", "Subscription required", "Queue full")
TIMED_OUT = FAIL_REASONS[0]
STEPS = ((0.1, None), (0.25, "35%"), (0.35, "72%"))  # share of the whole time to wait, then the progress shown
LAST_SHARE = 0.3
FLIP_SHARE = 0.1


class Life:
    """Runs tasks on their accounts. `changed` is told of every change of status or progress.

    Args:
        task_seconds: shortest and longest time on a core, already divided by the speed.
    """

    def __init__(
        self,
        personality: Personality,
        accounts: Accounts,
        memory: TaskMemory,
        gallery: Gallery,
        faults: Callable[[], Faults],
        chance: Chance,
        task_seconds: tuple[float, float],
        changed: Callable[[Task], object],
    ) -> None:
        self._personality = personality
        self._accounts = accounts
        self._memory = memory
        self._gallery = gallery
        self._faults = faults
        self._chance = chance
        self._task_seconds = task_seconds
        self._changed = changed
        self._runs: dict[Task, asyncio.Task[None]] = {}
        self._last_shown: str | None = None

    def place(self, account: Account, task: Task) -> int:
        """Give the task a core or a place in the queue; return how many wait, this one counted, or 0 when it runs."""
        ahead = account.take(task)
        self._memory.save(task)
        if ahead == 0:
            self._start(account, task)
        return ahead

    def resume(self) -> None:
        """After a restart: go on with what was unfinished, what already ran first, each from its beginning."""
        unfinished = [task for task in self._memory if not task.is_final]
        for task in sorted(unfinished, key=lambda task: (task.status is Status.NOT_START, task.serial)):
            account = self._accounts.choose(task.instance_id) or self._accounts.choose(None)
            if account is not None:
                self.place(account, task)

    def fill(self) -> None:
        """Start what waits, where cores are free."""
        for account in self._accounts:
            for task in account.startable():
                self._start(account, task)

    def cancel(self, task: Task) -> None:
        account = self._accounts.holding(task)
        run = self._runs.pop(task, None)
        if run is not None:
            run.cancel()
        if account is not None:
            account.running.discard(task)
            if task in account.waiting:
                account.waiting.remove(task)
        self._end(task, Status(self._personality.cancelled_status), "取消任务")
        self.fill()

    def stop(self) -> None:
        """Leave every task as it is now; a restart goes on from here."""
        self._accounts.clear()
        for run in self._runs.values():
            run.cancel()
        self._runs.clear()

    def _start(self, account: Account, task: Task) -> None:
        run = asyncio.create_task(self._run(account, task))
        self._runs[task] = run

    async def _run(self, account: Account, task: Task) -> None:
        seconds = self._chance.between(*self._task_seconds)
        await self._work(task, seconds)
        flips = self._finish(task)
        account.running.discard(task)
        for waiting in account.startable():
            self._start(account, waiting)
        if flips:
            await asyncio.sleep(seconds * FLIP_SHARE)
            self._succeed(task)
        self._runs.pop(task, None)

    async def _work(self, task: Task, seconds: float) -> None:
        task.start_time = now_ms()
        self._change(task, Status.SUBMITTED, "0%")
        for share, progress in STEPS:
            await asyncio.sleep(seconds * share)
            if progress and task.preview is None:
                self._show_preview(task)
            self._change(task, Status.IN_PROGRESS, progress or self._personality.first_progress)
        await asyncio.sleep(seconds * LAST_SHARE)

    def _show_preview(self, task: Task) -> None:
        """From here on it has a picture in the place of the one that is being made."""
        self._gallery.publish(task.preview_name, task.picture.unfinished())
        task.preview = task.preview_name

    def _finish(self, task: Task) -> bool:
        """End the task; True when this was a failure that is to become a success."""
        faults = self._faults()
        if task.must_fail or self._chance.strikes(faults.fail_tasks):
            self._end(task, Status.FAILURE, self._chance.one_of(FAIL_REASONS))
            return False
        if faults.flip_failures:
            self._end(task, Status.FAILURE, TIMED_OUT)
            return True
        self._succeed(task)
        return False

    def _succeed(self, task: Task) -> None:
        faults, made_for = self._faults(), task
        if faults.swap_pictures:  # neighbours get each other's
            made_for = self._memory.by_serial(task.serial ^ 1) or task
        self._gallery.publish(made_for.picture_name, made_for.picture, faults.spoil_for_good)
        task.shown_picture = made_for.picture_name
        if faults.share_pictures and self._last_shown:
            task.shown_picture = self._last_shown
        self._last_shown = task.shown_picture
        self._end(task, Status.SUCCESS, None)

    def _end(self, task: Task, status: Status, fail_reason: str | None) -> None:
        task.finish_time = now_ms()
        task.fail_reason = fail_reason
        self._change(task, status, "100%" if status is Status.SUCCESS else task.progress)

    def _change(self, task: Task, status: Status, progress: str | None) -> None:
        task.status = status
        task.progress = progress
        self._memory.save(task)
        self._changed(task)

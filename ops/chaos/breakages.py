"""The patches behind the broken variants. Each is applied in a process of a run, before that begins its work."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

from ops.chaos.quick import replace_everywhere

FILE_DELAY_SECONDS = 1.5


def fence_off() -> None:
    """The worker asks for its commit, and sends the last byte whatever the store says."""
    from jobs.events import Commit  # noqa: PLC0415  (only the process that is broken loads it, and patched)
    from worker.submit import Committer  # noqa: PLC0415

    def commit(self: Any) -> None:
        job = self.last.after
        self._context.store.apply(job.id, Commit(job.current))

    _replace(Committer, "__call__", commit)


def commit_late() -> None:
    """The last byte goes out, and only then the commit is written."""
    from worker.proxy.body import Body  # noqa: PLC0415

    def stream(self: Any, commit: Callable[[], None], progress: Callable[[], None] | None = None) -> Generator[bytes]:
        for chunk in self._all_but_the_last_byte():
            if progress is not None:
                progress()
            yield chunk
        yield b"}"
        commit()

    _replace(Body, "stream", stream)


def submit_retried() -> None:
    """A submission without an answer is sent once more, as HTTP clients do that know no better."""
    from worker.proxy.answers import Unsure  # noqa: PLC0415
    from worker.proxy.client import ProxyClient  # noqa: PLC0415

    submit = ProxyClient.submit

    def retried(self: Any, body: Any, commit: Callable[[], None], progress: Any = None) -> Any:
        verdict = submit(self, body, commit, progress)
        if isinstance(verdict, Unsure) and verdict.code is None:
            return submit(self, body, lambda: None, progress)
        return verdict

    _replace(ProxyClient, "submit", retried)


def naive_compare_and_set() -> None:
    """The record is written whatever its version is."""
    _patch_script("save", "if known[1] ~= change.version then", "if false then")


def no_sweep() -> None:
    replace_everywhere("sweep", lambda _context: None)


def blind_22() -> None:
    """A 22 is taken for "try again", with or without a task id."""
    from jobs.events import Answer, AnswerKind  # noqa: PLC0415
    from worker import submit  # noqa: PLC0415
    from worker.proxy.answers import Queued  # noqa: PLC0415

    event = submit._event  # noqa: SLF001

    def blind(number: int, verdict: Any) -> Any:
        if isinstance(verdict, Queued):
            return Answer(number, AnswerKind.NO_ROOM, code=verdict.code, description=verdict.description)
        return event(number, verdict)

    _replace(submit, "_event", blind)


def unsure_resubmitted() -> None:
    """Whoever is not sure tries again."""
    from jobs.job import Status  # noqa: PLC0415
    from jobs.lifecycle import submitting  # noqa: PLC0415
    from jobs.lifecycle.change import Change  # noqa: PLC0415

    def again(job: Any, moment: Any, why: str) -> Any:
        return Change(job.but(status=Status.WAITING, due_at=moment.now), why)

    _replace(submitting, "_unsure", again)


def mac_unverified() -> None:
    """A callback is matched by what it says, and nobody checks the proof."""
    from worker.hooks import Hooks  # noqa: PLC0415

    _replace(Hooks, "verify", lambda *_: True)


def attempt_reused() -> None:
    """Every attempt of a job is number 1."""
    from jobs.lifecycle import submitting  # noqa: PLC0415

    claim = submitting.claim

    def reused(job: Any, event: Any, moment: Any) -> Any:
        return claim(job.but(claims=0), event, moment)

    _replace(submitting, "claim", reused)


def lease_end_resubmits() -> None:
    """A worker that was lost after its commit is treated like one that was lost before."""
    from jobs.job import Status  # noqa: PLC0415
    from jobs.lifecycle import submitting  # noqa: PLC0415
    from jobs.lifecycle.change import Change  # noqa: PLC0415

    lease_end = submitting.lease_end

    def resubmits(job: Any, moment: Any) -> Any:
        if job.status is Status.COMMITTED and job.due_at is not None and job.due_at <= moment.now:
            return Change(job.but(status=Status.WAITING, due_at=moment.now), "its worker was lost")
        return lease_end(job, moment)

    _replace(submitting, "lease_end", resubmits)


def callbacks_move_back() -> None:
    """A callback is believed whenever it comes: the job is where the newest one says."""
    from jobs.attempt import TaskStatus  # noqa: PLC0415
    from jobs.job import Status  # noqa: PLC0415
    from jobs.lifecycle import at_the_api  # noqa: PLC0415
    from jobs.lifecycle.change import Change  # noqa: PLC0415

    task_seen = at_the_api.task_seen

    def believed(job: Any, event: Any, moment: Any) -> Any:
        attempt = job.find_attempt(event.attempt)
        if attempt is None or event.source != "callback" or event.status is not TaskStatus.IN_PROGRESS:
            return task_seen(job, event, moment)
        forgetful = attempt.but(task_id=event.task_id, seen=event.status, progress=event.progress)
        changed = job.with_attempt(forgetful, status=Status.RUNNING, due_at=moment.later(1.0), finished_at=None)
        return Change(changed, "callback")

    _replace(at_the_api, "task_seen", believed)


def server_error_is_refusal() -> None:
    """A 5xx is read as "not taken"."""
    from worker.proxy import answers  # noqa: PLC0415

    decide = answers.decide

    def trusting(answer: Any) -> Any:
        if answer.status >= 500:
            return answers.Refused(answers.Refusal.NO_ROOM, f"HTTP {answer.status}")
        return decide(answer)

    replace_everywhere("decide", trusting)


def success_before_file() -> None:
    """The picture gets its name a moment after the record says that it is there."""
    from jobs.pictures.images import ImageStore  # noqa: PLC0415

    place = ImageStore._place  # noqa: SLF001

    def later(self: Any, *arguments: Any) -> Any:
        stored = place(self, *arguments)
        hidden = stored.path.with_name(f"{stored.path.name}.late")
        stored.path.rename(hidden)

        def show() -> None:
            time.sleep(FILE_DELAY_SECONDS)
            hidden.rename(stored.path)

        threading.Thread(target=show, daemon=True).start()
        return stored

    _replace(ImageStore, "_place", later)


def wake_up_is_truth() -> None:
    """Nobody looks after jobs whose wake-up was lost."""
    from jobs.job import Status  # noqa: PLC0415
    from jobs.store import JobStore  # noqa: PLC0415

    take_due = JobStore.take_due

    @functools.wraps(take_due)
    def blind(self: Any, status: Any, *arguments: Any, **named: Any) -> Any:
        return [] if status is Status.RELEASED else take_due(self, status, *arguments, **named)

    _replace(JobStore, "take_due", blind)


def conflict_ignored() -> None:
    """Two jobs may have one task."""
    _patch_script("save", "if owner and owner ~= id then", "if false then")


def epoch_ignored() -> None:
    """No worker looks whether Redis still has its records."""
    from jobs.epoch import Epoch  # noqa: PLC0415

    _replace(Epoch, "verify", lambda _self: "")


def poison_forgiven() -> None:
    """Nobody counts the workers that a job has killed."""
    replace_everywhere("MAX_LOST_CLAIMS", float("inf"))


def _patch_script(name: str, old: str, new: str) -> None:
    from jobs.server import lua  # noqa: PLC0415

    def patched(asked: str) -> str:
        text = lua(asked)
        if asked != name:
            return text
        if old not in text:
            raise LookupError(f"{name}.lua has no line {old!r}")
        return text.replace(old, new)

    replace_everywhere("lua", patched)


def _replace(owner: Any, name: str, value: object) -> None:
    if not hasattr(owner, name):
        raise LookupError(f"{owner!r} has no {name}")
    setattr(owner, name, value)

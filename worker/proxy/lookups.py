"""What the API says about tasks and what that proves. Pure.

A task that the API does not know may have been lost, and its job may be paid for again: so `Unknown` is said only
where the answer proves the absence, and everything that is merely odd is `CannotTell`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jobs.attempt import TaskStatus
from worker.proxy.reply import RawAnswer, read_reply, retry_after_seconds
from worker.proxy.task import TaskView, parse_task
from worker.proxy.wire import parse_json, seed, whole_number

TASK_NOT_FOUND = "task_no_found"  # the gateways' own spelling
_NO_SUCH_CALL = (404, 405)
_KEY_REFUSED = (401, 403)
_FAILED = (TaskStatus.FAILURE, TaskStatus.CANCEL)
# More than any account has: a number beyond it means something else.
_MAX_CORES = 1000
# Where the servers' page objects keep their rows.
_PAGE_FIELDS = ("content", "list", "records", "items", "rows", "data")


@dataclass(frozen=True, slots=True)
class Found:
    task: TaskView


@dataclass(frozen=True, slots=True)
class Unknown:
    """The API answered, and does not know the task."""


@dataclass(frozen=True, slots=True)
class CannotTell:
    """Nothing was learnt: ask again later.

    `retry_after_seconds` is what the API asked for, at most an hour. `answered`: the API works and cannot say more
    (so asking again may be in vain); else it was down, did not know us, or was not reached at all.
    `key_refused`: it did not know us.
    """

    message: str
    retry_after_seconds: float | None = None
    answered: bool = True
    key_refused: bool = False


@dataclass(frozen=True, slots=True)
class NoSuchCall:
    """This server does not have the call at all: asking again is of no use."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    pass


@dataclass(frozen=True, slots=True)
class NotCancelled:
    message: str


def read_fetch(answer: RawAnswer, task_id: str) -> Found | Unknown | CannotTell:
    """The answer to `GET /mj/task/{id}/fetch`.

    A 404 proves nothing: every family has this call, so it is the address that is wrong.
    """
    if unusable := _refused_or_cut(answer):
        return unusable
    reply = read_reply(answer)
    if reply.code == 4 and TASK_NOT_FOUND in reply.said:
        return Unknown()
    if answer.status == 204 or (answer.status == 200 and answer.body.strip() in (b"", b"null")):
        return Unknown()
    task = parse_task(_json(answer)) if answer.status == 200 else None
    if task is None:
        return _cannot_tell(answer, "no task in it")
    if task.task_id != task_id:
        return _cannot_tell(answer, f"it is about another task, {task.task_id}")
    return Found(task)


def read_by_ids(answer: RawAnswer, ids: Sequence[str]) -> dict[str, TaskView] | CannotTell | NoSuchCall:
    """The answer to `POST /mj/task/list-by-condition`: the tasks by id; an id left out is unknown to the API."""
    tasks = _read_list(answer)
    if not isinstance(tasks, list):
        return tasks
    found = {task.task_id: task for task in tasks if task.task_id in ids}
    if len(found) < len(set(ids)) and any(task.task_id not in found for task in tasks):
        # A server that does not filter shows one page of everything: what is not on it may still exist.
        return _cannot_tell(answer, "it lists tasks that were not asked for, so an absence proves nothing")
    return found


def read_query(answer: RawAnswer, state: str) -> Found | Unknown | CannotTell | NoSuchCall:
    """The answer to `POST /mj/task/query` with a `state`: an empty page proves the absence, one of others does not."""
    tasks = _read_list(answer)
    if not isinstance(tasks, list):
        return tasks
    if found := _with_state(tasks, state):
        return Found(found)
    return _cannot_tell(answer, "it lists tasks of other states") if tasks else Unknown()


def read_list(answer: RawAnswer, state: str) -> Found | CannotTell | NoSuchCall:
    """The answer to `GET /mj/task/list`. It shows the newest tasks only, so it can prove no absence."""
    tasks = _read_list(answer)
    if not isinstance(tasks, list):
        return tasks
    if found := _with_state(tasks, state):
        return Found(found)
    return _cannot_tell(answer, "the task is not in the list, which may not be complete")


def read_cancel(answer: RawAnswer) -> Cancelled | NotCancelled | CannotTell | NoSuchCall:
    """The answer to `POST /mj/task/{id}/cancel`: `{code, description}`, 1 for done."""
    if unusable := _refused_or_cut(answer):
        return unusable
    reply = read_reply(answer)
    if reply.code is not None and answer.status < 500:
        if reply.code == 1:
            return Cancelled()
        return NotCancelled(f"the API did not cancel the task (code {reply.code}): {reply.words}")
    return NoSuchCall() if answer.status in _NO_SUCH_CALL else _cannot_tell(answer, "no code in it")


def read_seed(answer: RawAnswer) -> str | None:
    """The answer to `GET /mj/task/{id}/image-seed`: `{code, description, result}`; None when it does not tell."""
    reply = read_reply(answer)
    return seed(reply.result) if answer.status == 200 and not answer.truncated and reply.code == 1 else None


def read_cores(answer: RawAnswer) -> int | CannotTell | NoSuchCall:
    """How many tasks the enabled accounts of a list, or of a page, can work on at once."""
    if unusable := _refused_or_cut(answer):
        return unusable
    if answer.status in _NO_SUCH_CALL:
        return NoSuchCall()
    rows = _rows(_json(answer)) if answer.status == 200 else None
    accounts = [row for row in rows or () if isinstance(row, dict) and row.get("enable") is not False]
    cores = [whole_number(account.get("coreSize")) for account in accounts]
    found = sum(number for number in cores if number is not None and 0 < number <= _MAX_CORES)
    return found or _cannot_tell(answer, "no accounts in it")


def _read_list(answer: RawAnswer) -> list[TaskView] | CannotTell | NoSuchCall:
    if unusable := _refused_or_cut(answer):
        return unusable
    if answer.status in _NO_SUCH_CALL:
        return NoSuchCall()
    rows = _rows(_json(answer)) if answer.status == 200 else None
    if rows is None:
        return _cannot_tell(answer, "no list of tasks in it")
    tasks = [task for row in rows if (task := parse_task(row)) is not None]
    return tasks if len(tasks) == len(rows) else _cannot_tell(answer, "not everything in its list is a task")


def _rows(data: object) -> list[object] | None:
    """The rows of a plain array, of a page object, or of a page object inside another's `data`."""
    for _ in range(2):
        if isinstance(data, list):
            return data
        if not isinstance(data, dict):
            return None
        data = next((data[name] for name in _PAGE_FIELDS if isinstance(data.get(name), list | dict)), None)
    return data if isinstance(data, list) else None


def _with_state(tasks: Iterable[TaskView], state: str) -> TaskView | None:
    """The task of this state; where several have it (a gateway may try twice) one that did not fail."""
    ours = [task for task in tasks if task.state and (task.state == state or task.state.startswith(state + " "))]
    return min(ours, key=lambda task: task.status in _FAILED, default=None)


def _refused_or_cut(answer: RawAnswer) -> CannotTell | None:
    if answer.status in _KEY_REFUSED:
        return _cannot_tell(answer, "the key was refused; check the settings api_key and api_auth")
    return _cannot_tell(answer, "it was cut or over the size limit") if answer.truncated else None


def _cannot_tell(answer: RawAnswer, why: str) -> CannotTell:
    words = read_reply(answer).words if answer.status != 200 else ""
    message = f"the answer (HTTP {answer.status}) tells nothing about the task: {why}" + (f": {words}" if words else "")
    key_refused = answer.status in _KEY_REFUSED
    works = answer.status < 500 and answer.status != 429 and not key_refused
    return CannotTell(message, retry_after_seconds(answer), works, key_refused)


def _json(answer: RawAnswer) -> object:
    try:
        return parse_json(answer.body)
    except ValueError:
        return None

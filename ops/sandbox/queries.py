"""The calls that ask: tasks and accounts, each in the families that have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ops.sandbox import answers
from ops.sandbox.personalities import Call, UnknownTask
from ops.sandbox.sandbox import Sandbox
from ops.sandbox.submission import Unreadable, read_object
from ops.sandbox.tasks import Status, Task

QUERIES: dict[Call, tuple[str, str, str]] = {
    Call.FETCH: ("GET", "/mj/task/{id}/fetch", "fetch"),
    Call.LIST_BY_CONDITION: ("POST", "/mj/task/list-by-condition", "list_by_ids"),
    Call.LIST_BY_IDS: ("POST", "/mj/task/list-by-ids", "list_by_ids"),
    Call.QUERY: ("POST", "/mj/task/query", "query"),
    Call.LIST: ("GET", "/mj/task/list", "list"),
    Call.QUEUE: ("GET", "/mj/task/queue", "queue"),
    Call.CANCEL: ("POST", "/mj/task/{id}/cancel", "cancel"),
    Call.IMAGE_SEED: ("GET", "/mj/task/{id}/image-seed", "image_seed"),
    Call.ACCOUNT_QUERY: ("POST", "/mj/account/query", "account_query"),
    Call.ACCOUNT_LIST: ("GET", "/mj/account/list", "account_list"),
}
GONE = "关联任务不存在或已失效"


class Queries:
    def __init__(self, sandbox: Sandbox) -> None:
        self._box = sandbox

    async def fetch(self, request: Request) -> Response:
        task = self._task(request)
        if task is None:
            return self._unknown()
        if task.shown_picture:
            self._box.gallery.renew_link(task.shown_picture, self._box.faults.expire_links)
        return JSONResponse(self._box.show(task))

    async def list_by_ids(self, request: Request) -> Response:
        """Unknown ids are left out without a word."""
        try:
            fields = read_object(await request.body())
        except Unreadable:
            return self._bad_request(request)
        found = [self._box.memory.get(task_id) for task_id in _texts(fields.get("ids"))]
        return JSONResponse([self._box.show(task) for task in found if task is not None])

    async def query(self, request: Request) -> Response:
        try:
            fields = read_object(await request.body() or b"{}")
            number, size = _page_of(fields)
        except (Unreadable, ValueError):
            return self._bad_request(request)
        matches = _condition(fields)
        rows = sorted((task for task in self._box.memory if matches(task)), key=_sort_key(fields))
        if str(fields.get("sort", "id,desc")).endswith("desc"):
            rows.reverse()
        return JSONResponse(answers.page([self._box.show(task) for task in rows], number, size))

    async def list(self, _request: Request) -> Response:
        """Newest first."""
        newest = list(self._box.memory)[::-1][: self._box.personality.list_limit]
        return JSONResponse([self._box.show(task) for task in newest])

    async def queue(self, _request: Request) -> Response:
        waiting = sorted(self._box.accounts.waiting(), key=lambda task: task.serial)
        return JSONResponse([self._box.show(task) for task in waiting])

    async def cancel(self, request: Request) -> Response:
        task = self._task(request)
        if task is None:
            return JSONResponse(answers.message(answers.NOT_FOUND, GONE))
        if task.is_final:
            return JSONResponse(answers.message(answers.VALIDATION_ERROR, "任务已结束，无法取消"))
        self._box.life.cancel(task)
        return JSONResponse({"code": answers.SUCCESS, "description": "成功"})

    async def image_seed(self, request: Request) -> Response:
        task = self._task(request)
        if task is None:
            if self._box.personality.unknown_task is UnknownTask.TASK_NO_FOUND:
                return self._unknown()
            return JSONResponse(answers.message(answers.NOT_FOUND, GONE))
        if task.status is not Status.SUCCESS:
            return JSONResponse(answers.message(answers.VALIDATION_ERROR, "关联任务状态错误"))
        return JSONResponse(answers.message(answers.SUCCESS, "成功", answers.seed_of(task)))

    async def account_query(self, request: Request) -> Response:
        try:
            fields = read_object(await request.body() or b"{}")
            number, size = _page_of(fields)
        except (Unreadable, ValueError):
            return self._bad_request(request)
        rows = [] if fields.get("enable") is False else [a.as_json() for a in self._box.accounts]
        return JSONResponse(answers.page(rows, number, size))

    async def account_list(self, _request: Request) -> Response:
        return JSONResponse([account.as_json() for account in self._box.accounts])

    def _task(self, request: Request) -> Task | None:
        return self._box.memory.get(request.path_params["id"])

    def _unknown(self) -> Response:
        match self._box.personality.unknown_task:
            case UnknownTask.EMPTY_200:
                return Response(status_code=200)
            case UnknownTask.NULL_200:
                return JSONResponse(None)
            case UnknownTask.NO_CONTENT:
                return Response(status_code=204)
            case UnknownTask.TASK_NO_FOUND:
                return answers.gateway_refusal(4, "task_no_found")

    def _bad_request(self, request: Request) -> Response:
        return answers.error_page(self._box.personality.not_found, 400, request.url.path)


def _texts(values: object) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _page_of(fields: dict[str, Any]) -> tuple[int, int]:
    number, size = int(fields.get("pageNumber", 0)), int(fields.get("pageSize", 10))
    if number < 0 or size < 1:
        raise ValueError
    return number, size


def _condition(fields: dict[str, Any]) -> Callable[[Task], bool]:
    """Every given field narrows; one that is null, empty or unknown does not."""
    wanted = {
        name: fields[name] for name in ("state", "status", "action", "instanceId", "description") if fields.get(name)
    }
    ids, statuses = set(_texts(fields.get("ids"))), set(_texts(fields.get("statusSet")))

    def matches(task: Task) -> bool:
        has = {
            "state": task.state,
            "status": str(task.status),
            "action": task.action,
            "instanceId": task.instance_id,
            "description": task.description,
        }
        return (
            all(has[name] == value for name, value in wanted.items())
            and (not ids or task.id in ids)
            and (not statuses or str(task.status) in statuses)
        )

    return matches


def _sort_key(fields: dict[str, Any]) -> Callable[[Task], Any]:
    match str(fields.get("sort", "id,desc")).partition(",")[0]:
        case "submitTime":
            return lambda task: (task.submit_time, task.serial)
        case "finishTime":
            return lambda task: (task.finish_time or 0, task.serial)
        case _:
            return lambda task: (task.id, task.serial)

"""The JSON that the servers answer, and the pages that come instead of it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from ops.sandbox.personalities import Manner, Personality
from ops.sandbox.submission import Refused
from ops.sandbox.tasks import Status, Task

SUCCESS, NOT_FOUND, VALIDATION_ERROR, FAILURE = 1, 3, 4, 9
EXISTED, IN_QUEUE, QUEUE_REJECTED, BANNED_PROMPT = 21, 22, 23, 24

HTML_PAGE = (
    "<!DOCTYPE html><html><head><title>Just a moment...</title></head>"
    "<body><h1>Checking your browser before accessing the site.</h1></body></html>"
)
_NGINX_PAGE = (
    "<html><head><title>{what}</title></head>"
    "<body><center><h1>{what}</h1></center><hr><center>nginx</center></body></html>"
)
_SPRING_CLOCK = "%Y-%m-%dT%H:%M:%S.%f"
_COMMUNITY_TEXTS = {401: "未登录"}


def accepted(personality: Personality, task_id: str, instance_id: str, ahead: int) -> dict[str, Any]:
    """1, or 22 when `ahead` tasks wait; gateways pass the text of the 22 on, under a 1."""
    properties: dict[str, Any] | None = {"discordInstanceId": instance_id}
    description = "提交成功"
    if ahead:
        description = f"排队中，前面还有{ahead}个任务"
        properties = {"numberOfQueues": ahead, "discordInstanceId": instance_id}
    elif personality.integer_results:
        properties = None if personality.null_properties else {}
    code = IN_QUEUE if ahead and not personality.hides_22 else SUCCESS
    return _answer(code, description, _as_result(personality, task_id), properties)


def existed(personality: Personality, task: Task, image_url: str | None) -> dict[str, Any]:
    properties = {"status": str(task.status), "imageUrl": image_url}
    return _answer(EXISTED, "任务已存在", _as_result(personality, task.id), properties)


def not_taken(task_id: str | None, ahead: int) -> dict[str, Any]:
    """The reseller's 22 that means "try again later"; the id, when there is one, names nothing."""
    properties = {"numberOfQueues": ahead} if task_id else None
    return _answer(IN_QUEUE, f"排队中，前面还有{ahead}个任务", task_id, properties)


def refused(refusal: Refused) -> dict[str, Any]:
    return _answer(refusal.code, refusal.description, None, refusal.properties)


def message(code: int, description: str, result: str | None = None) -> dict[str, Any]:
    return _answer(code, description, result, {})


def gateway_refusal(code: int, description: str) -> JSONResponse:
    """A gateway's own refusal: the description ends with an empty result, hence the blank."""
    content = {"description": f"{description} ", "type": "upstream_error", "code": code}
    return JSONResponse(content, status_code=429 if code == 30 else 400)


def _answer(code: int, description: str, result: str | int | None, properties: Any) -> dict[str, Any]:
    return {"code": code, "description": description, "properties": properties, "result": result}


def _as_result(personality: Personality, task_id: str) -> str | int:
    return int(task_id) if personality.integer_results and int(task_id) % 2 == 0 else task_id


def error_page(manner: Manner, status: int, path: str, words: str = "") -> Response:
    """An error that is not one of the API's own answers, in the family's manner."""
    phrase = HTTPStatus(status).phrase
    match manner:
        case Manner.EMPTY:
            return Response(status_code=status)
        case Manner.TEXT:
            return PlainTextResponse(_COMMUNITY_TEXTS.get(status, phrase), status_code=status)
        case Manner.HTML:
            return HTMLResponse(_NGINX_PAGE.format(what=f"{status} {phrase}"), status_code=status)
        case Manner.SPRING:
            now = f"{datetime.now(UTC).strftime(_SPRING_CLOCK)[:-3]}+00:00"
            return JSONResponse({"timestamp": now, "status": status, "error": phrase, "path": path}, status_code=status)
        case Manner.GATEWAY:
            error = {"message": words or phrase, "type": "new_api_error", "param": "", "code": ""}
            return JSONResponse({"error": error}, status_code=status)


def task_json(personality: Personality, task: Task, image_url: str | None) -> dict[str, Any]:
    """A task as this family shows it: in answers and in callbacks alike."""
    empty = personality.empty_text
    shown: dict[str, Any] = {
        "id": task.id,
        "properties": {
            "notifyHook": task.notify_hook,
            "discordInstanceId": task.instance_id,
            "messageHash": task.picture.digest()[:32],
            "flags": 0,
        },
        "action": task.action,
        "status": str(task.status),
        "prompt": empty,
        "promptEn": empty,
        "description": task.description,
        "state": task.state if task.state is not None else empty,
        "submitTime": task.submit_time,
        "startTime": task.start_time if task.start_time is not None else personality.empty_time,
        "finishTime": task.finish_time if task.finish_time is not None else personality.empty_time,
        "imageUrl": image_url if image_url is not None else empty,
        "progress": task.progress if task.progress is not None else empty,
        "failReason": task.fail_reason if task.fail_reason is not None else empty,
    }
    if personality.has_buttons:
        shown |= {"botType": task.bot_type, "buttons": buttons(task)}
    if personality.is_community:
        shown |= _community_fields(task, image_url)
    return shown


def _community_fields(task: Task, image_url: str | None) -> dict[str, Any]:
    urls = [{"url": image_url, "webp": None, "thumbnail": None}] if image_url else []
    return {
        "parentId": task.parent_id,
        "instanceId": task.instance_id,
        "imageUrls": urls,
        "seed": seed_of(task) if task.status is Status.SUCCESS else None,
        "mode": "FAST",
        "isCompleted": task.is_final,
        "displays": {"action": task.action, "status": str(task.status)},
        "clientIp": "127.0.0.1",
    }


def seed_of(task: Task) -> str:
    return str(int(task.picture.digest()[:8], 16))


def buttons(task: Task) -> list[dict[str, Any]]:
    """What may be done with a finished grid; `customId` is what submit/action takes."""
    if task.status is not Status.SUCCESS or task.picture.quadrant:
        return []
    job = hashlib.md5(task.id.encode(), usedforsecurity=False).hexdigest()
    named = [(f"MJ::JOB::upsample::{n}::{job}", "", f"U{n}") for n in range(1, 5)]
    named.append((f"MJ::JOB::reroll::0::{job}::SOLO", "🔄", ""))
    named += [(f"MJ::JOB::variation::{n}::{job}", "", f"V{n}") for n in range(1, 5)]
    return [
        {"customId": custom_id, "emoji": emoji, "label": label, "style": 2, "type": 2}
        for custom_id, emoji, label in named
    ]


def page(rows: list[dict[str, Any]], number: int, size: int) -> dict[str, Any]:
    """A Spring page; numbers count from 0."""
    shown = rows[number * size : (number + 1) * size]
    pages = -(-len(rows) // size)
    sort = {"empty": False, "sorted": True, "unsorted": False}
    return {
        "content": shown,
        "pageable": {
            "pageNumber": number,
            "pageSize": size,
            "sort": sort,
            "offset": number * size,
            "paged": True,
            "unpaged": False,
        },
        "last": number >= pages - 1,
        "totalPages": pages,
        "totalElements": len(rows),
        "size": size,
        "number": number,
        "sort": sort,
        "first": number == 0,
        "numberOfElements": len(shown),
        "empty": not shown,
    }

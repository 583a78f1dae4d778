"""What may be done with a finished task: one variant by itself, variations, another take."""

from __future__ import annotations

import re
from typing import Any

from ops.sandbox import answers
from ops.sandbox.draft import Draft
from ops.sandbox.submission import MAX_HOOK_CHARACTERS, MAX_STATE_CHARACTERS, Refused, limited_text
from ops.sandbox.tasks import Status, Task, TaskMemory

_CUSTOM_ID = re.compile(r"MJ::JOB::(upsample|variation|reroll)::(\d)::")
_ACTIONS = {"upsample": "UPSCALE", "variation": "VARIATION", "reroll": "REROLL"}


def read_change(fields: dict[str, Any], memory: TaskMemory) -> Draft:
    """Read `POST /mj/submit/change`: `taskId`, `action`, and `index` from 1 to 4.

    Raises:
        Refused: a field is wrong, or the task is unknown or not finished.
    """
    action = fields.get("action")
    if action not in _ACTIONS.values():
        raise Refused(answers.VALIDATION_ERROR, "action参数错误")
    return _draft(fields, memory, str(action), fields.get("index"))


def read_action(fields: dict[str, Any], memory: TaskMemory) -> Draft:
    """Read `POST /mj/submit/action`: `taskId`, and a `customId` from the finished task's `buttons`.

    Raises:
        Refused: as `read_change`.
    """
    found = _CUSTOM_ID.match(str(fields.get("customId")))
    if found is None:
        raise Refused(answers.VALIDATION_ERROR, "customId参数错误")
    return _draft(fields, memory, _ACTIONS[found[1]], int(found[2]))


def _draft(fields: dict[str, Any], memory: TaskMemory, action: str, index: object) -> Draft:
    target = _target(fields.get("taskId"), memory)
    if action == "REROLL":
        letter, number = "R", 0
    elif isinstance(index, int) and not isinstance(index, bool) and 1 <= index <= 4:
        letter, number = f"{action[0]}{index}", index
    else:
        raise Refused(answers.VALIDATION_ERROR, "index参数错误")
    picture = target.picture.variant(number) if action == "UPSCALE" else target.picture.another_take(1 + number)
    return Draft(
        action=action,
        description=f"/up {target.id} {letter}",
        picture=picture,
        content_key=f"{target.id} {letter}",
        options={"parent": target.id, "index": number},
        notify_hook=limited_text(fields, "notifyHook", MAX_HOOK_CHARACTERS),
        state=limited_text(fields, "state", MAX_STATE_CHARACTERS),
        bot_type=target.bot_type,
        instance_id=target.instance_id,  # only the account that made the grid can go on with it
        parent_id=target.id,
    )


def _target(task_id: object, memory: TaskMemory) -> Task:
    if not isinstance(task_id, str) or not task_id:
        raise Refused(answers.VALIDATION_ERROR, "taskId不能为空")
    task = memory.get(task_id)
    if task is None:
        raise Refused(answers.NOT_FOUND, "关联任务不存在或已失效")
    if task.status is not Status.SUCCESS:
        raise Refused(answers.VALIDATION_ERROR, "关联任务状态错误")
    if task.picture.quadrant:
        raise Refused(answers.VALIDATION_ERROR, "关联任务不允许执行变化")
    return task

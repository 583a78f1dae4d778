"""What a follow-up sends: the button of its parent's task, or the action by its name; its last byte held back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.actions import Action
from jobs.attempt import TaskStatus
from worker.proxy.actions import ActionBody, NoSuchButton
from worker.proxy.task import Button, TaskView

BUTTONS = (Button("cid-u2", "U2", ""), Button("cid-r", "", "🔄"), Button("cid-v3", "V3", ""))


def sent(body: ActionBody) -> dict[str, Any]:
    text = b"".join(body.stream(lambda: None))
    assert len(text) == body.content_length
    fields: dict[str, Any] = json.loads(text)
    return fields


def task(*buttons: Button) -> TaskView:
    return TaskView("t1", TaskStatus.SUCCESS, buttons=buttons)


@pytest.mark.parametrize(("action", "custom_id"), [(Action.U2, "cid-u2"), (Action.V3, "cid-v3"), (Action.R, "cid-r")])
def test_a_button_is_pressed_where_there_are_buttons(action: Action, custom_id: str) -> None:
    body = ActionBody(task(*BUTTONS), action, "http://hook", "token")
    assert body.path == "/mj/submit/action"
    assert sent(body) == {"taskId": "t1", "state": "token", "notifyHook": "http://hook", "customId": custom_id}


@pytest.mark.parametrize(
    ("action", "change"),
    [
        (Action.U4, {"action": "UPSCALE", "index": 4}),
        (Action.V1, {"action": "VARIATION", "index": 1}),
        (Action.R, {"action": "REROLL"}),
    ],
)
def test_the_action_is_named_where_there_are_none(action: Action, change: dict[str, Any]) -> None:
    body = ActionBody(task(), action, None, "token")
    assert body.path == "/mj/submit/change"
    assert sent(body) == {"taskId": "t1", "state": "token"} | change


def test_what_the_server_does_not_offer_is_told() -> None:
    with pytest.raises(NoSuchButton, match="no U1 for task t1"):
        ActionBody(task(*BUTTONS), Action.U1, None, "token")


def test_an_emoji_may_come_with_its_variation_selector() -> None:
    assert sent(ActionBody(task(Button("cid", "", "🔄\ufe0f")), Action.R, None, "token"))["customId"] == "cid"


def test_the_last_byte_waits_for_the_commit() -> None:
    """I2, I3: until then no server can accept it."""
    said: list[str] = []
    body = ActionBody(task(), Action.U1, None, "token")
    chunks = body.stream(lambda: said.append("commit"))
    assert len(next(chunks)) == body.content_length - 1
    assert not said
    assert (list(chunks), said) == ([b"}"], ["commit"])

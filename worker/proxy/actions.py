"""The body of a follow-up: what is wanted of a finished task, in whichever way its server takes it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator

from jobs.actions import Action
from worker.proxy.body import Body
from worker.proxy.task import TaskView

REROLL_BUTTON = "🔄"
_VARIATION_SELECTOR = "\ufe0f"


class NoSuchButton(Exception):
    """The server does not offer this for this task."""


class ActionBody(Body):
    """The body of one `POST /mj/submit/action`, or where tasks have no buttons of one `POST /mj/submit/change`.

    Args:
        parent: the finished task, as the server shows it now.
        action: what is wanted of it.
        notify_hook: the address for callbacks; None for none.
        state: the text that the API echoes on the task.

    Raises:
        NoSuchButton: the task has buttons, and not this one.
    """

    def __init__(self, parent: TaskView, action: Action, notify_hook: str | None, state: str) -> None:
        fields: dict[str, object] = {"taskId": parent.task_id, "state": state}
        if notify_hook is not None:
            fields["notifyHook"] = notify_hook
        if parent.buttons:
            self.path = "/mj/submit/action"
            fields["customId"] = _custom_id(parent, action)
        else:
            self.path = "/mj/submit/change"
            fields |= {"action": action.kind.value} | ({"index": action.quarter} if action.quarter else {})
        self._text = json.dumps(fields, separators=(",", ":")).encode()
        self.content_length = len(self._text)

    def _all_but_the_last_byte(self) -> Iterator[bytes]:
        yield self._text[:-1]


def _custom_id(parent: TaskView, action: Action) -> str:
    wanted = REROLL_BUTTON if action is Action.R else action.value
    names = [(button.label or button.emoji).replace(_VARIATION_SELECTOR, "") for button in parent.buttons]
    if wanted not in names:
        raise NoSuchButton(f"the API offers no {action} for task {parent.task_id}")
    return parent.buttons[names.index(wanted)].custom_id

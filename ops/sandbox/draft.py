"""A submission that is understood and not yet accepted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ops.sandbox.pictures import PictureSpec
from ops.sandbox.submission import Blend

_MARK = re.compile(r"sandbox:([a-z]+)")


@dataclass(frozen=True)
class Draft:
    action: str
    description: str  # with {id} for the task's id
    picture: PictureSpec
    content_key: str
    options: dict[str, Any]
    notify_hook: str | None
    state: str | None
    bot_type: str = "MID_JOURNEY"
    instance_id: str | None = None
    parent_id: str | None = None

    @property
    def marks(self) -> frozenset[str]:
        """Wishes of a test, anywhere in `state`: `sandbox:banned`, `sandbox:existed`, `sandbox:full`, …"""
        return frozenset(_MARK.findall(self.state or ""))


def draft_of(blend: Blend) -> Draft:
    return Draft(
        action="BLEND",
        description="/blend {id} " + str(len(blend.inputs)),
        picture=PictureSpec(blend.inputs, blend.dimensions),
        content_key=blend.content_key,
        options=blend.options,
        notify_hook=blend.notify_hook,
        state=blend.state,
        bot_type=blend.bot_type,
        instance_id=blend.filters.get("instanceId"),
    )

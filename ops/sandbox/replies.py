"""Replies: what a client is told about its submission, or left to guess."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from ops.sandbox import answers
from ops.sandbox.personalities import Manner
from ops.sandbox.sandbox import Sandbox


class HangUp(Response):
    """No answer at all: the connection is closed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the framework's call
        await scope["sandbox.hang_up"](receive)


@dataclass(frozen=True)
class Told:
    """What a client is told about its submission. `label` is how the ledger counts it."""

    label: str
    response: Response


def answered(content: dict[str, Any]) -> Told:
    return Told(str(content["code"]), JSONResponse(content))


def server_error(box: Sandbox, path: str) -> Response:
    """One of the many faces of a server that is down."""
    match box.chance.one_of(("500", "502", "503")):
        case "500":
            return answers.error_page(box.personality.not_found, 500, path)
        case "502":
            return answers.error_page(Manner.HTML, 502, path)
        case _:
            return answers.error_page(Manner.TEXT, 503, path)

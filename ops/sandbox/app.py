"""The web application: which path leads where."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ops.sandbox import answers
from ops.sandbox.controls import control_routes
from ops.sandbox.personalities import Call, Manner, key_is_right
from ops.sandbox.queries import QUERIES, Queries
from ops.sandbox.replies import server_error
from ops.sandbox.sandbox import Sandbox
from ops.sandbox.spoils import SPOILS, expired
from ops.sandbox.submissions import Submissions

PREFIXES = ("", "/mj-fast", "/mj-relax", "/mj-turbo")

Handler = Callable[[Request], Awaitable[Response]]


def build_app(sandbox: Sandbox) -> ASGIApp:
    app = Starlette(
        routes=[
            *_submission_routes(sandbox),
            *_query_routes(sandbox),
            *control_routes(sandbox),
            Route("/pictures/{name}.png", _picture(sandbox)),
        ],
        exception_handlers={404: _no_such_page(sandbox), 405: _no_such_page(sandbox)},
    )
    return _with_hang_up(app)


def _submission_routes(sandbox: Sandbox) -> list[Route]:
    submissions = Submissions(sandbox, lambda request: _turned_away(sandbox, request))
    handlers: dict[str, tuple[Call | None, Handler]] = {
        "/mj/submit/blend": (None, submissions.blend),
        "/mj/submit/action": (Call.ACTION, submissions.action),
        "/mj/submit/change": (Call.CHANGE, submissions.change),
    }
    return [
        Route(prefix + path, handler, methods=["POST"])
        for path, (call, handler) in handlers.items()
        if call is None or call in sandbox.personality.calls
        for prefix in PREFIXES
    ]


def _query_routes(sandbox: Sandbox) -> list[Route]:
    queries = Queries(sandbox)
    return [
        Route(prefix + path, _guarded(sandbox, getattr(queries, name)), methods=[method])
        for call, (method, path, name) in QUERIES.items()
        if call in sandbox.personality.calls
        for prefix in PREFIXES
    ]


def _guarded(sandbox: Sandbox, handler: Handler) -> Handler:
    async def guarded(request: Request) -> Response:
        await asyncio.sleep(sandbox.faults.hang_seconds)
        if sandbox.chance.strikes(sandbox.faults.fail_queries):
            return server_error(sandbox, request.url.path)
        return _turned_away(sandbox, request) or await handler(request)

    return guarded


def _turned_away(sandbox: Sandbox, request: Request) -> Response | None:
    """The answer to a request that never gets as far as the API: a browser check, or a key that does not fit."""
    if sandbox.faults.html_answers:
        return HTMLResponse(answers.HTML_PAGE)
    headers = request.headers
    right = key_is_right(
        sandbox.personality.auth,
        sandbox.options.api_key,
        headers.get("mj-api-secret"),
        headers.get("authorization"),
    )
    if right and not sandbox.faults.refuse_key:
        return None
    return answers.error_page(sandbox.personality.denied, 401, request.url.path, "无效的令牌")


def _picture(sandbox: Sandbox) -> Handler:
    async def picture(request: Request) -> Response:
        name = request.path_params["name"]
        if not sandbox.gallery.link_works(name, request.query_params.get("ex"), sandbox.faults.expire_links):
            return expired()
        content = await sandbox.gallery.picture(name)
        if content is None:
            return Response(status_code=404)
        if spoil := sandbox.faults.spoil_pictures or sandbox.gallery.spoil(name):
            return SPOILS[spoil](content)
        return Response(content, media_type="image/png")

    return picture


def _no_such_page(sandbox: Sandbox) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def no_such_page(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        manner = sandbox.personality.not_found
        path = request.url.path
        if manner is Manner.GATEWAY:
            status = 404
        return answers.error_page(manner, status, path, f"Invalid URL ({request.method} {path})")

    return no_such_page


def _with_hang_up(app: ASGIApp) -> ASGIApp:
    """Lets a response close the connection instead of answering: uvicorn's `send` belongs to the one who can."""

    async def with_hang_up(scope: Scope, receive: Receive, send: Send) -> None:
        async def hang_up(receive: Receive) -> None:
            send.__self__.transport.close()  # type: ignore[attr-defined]
            while (await receive())["type"] != "http.disconnect":
                pass

        scope["sandbox.hang_up"] = hang_up
        await app(scope, receive, send)

    return with_hang_up

"""Guard: stands before every route. Gives each request an id, asks for its token, and bounds how many there are."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobs.errors import BlendqError
from jobs.limits import Buckets
from producer.api.problems import Refused
from producer.tokens import Scope as Allowed
from producer.tokens import Tokens

# For whoever watches over the process; they tell nothing of anybody's work.
PROBES = frozenset({"/livez", "/readyz"})
OPEN = PROBES | {"/v1/openapi.json"}
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
BURST_SECONDS = 2.0
_log = logging.getLogger("producer.api")


class Guard:
    """An ASGI application around another one.

    Args:
        app: what answers.
        tokens: who is let in.
        loopback: whether only this machine can call; then nobody needs a token while there is none.
        most: how many requests are answered at once.
        per_second: how many each token may send.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens, *, loopback: bool, most: int, per_second: float) -> None:
        self._app = app
        self._tokens = tokens
        self._loopback = loopback
        self._most = most
        self._inside = 0
        self._buckets = Buckets(per_second, burst=max(1.0, per_second * BURST_SECONDS))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        named = _with_id(send, request_id, scope)
        try:
            with self._room(scope["path"]):
                await self._admit(scope)
                await self._app(scope, receive, named)
        except (Refused, BlendqError) as error:
            await Refused.of(error).response(request_id)(scope, receive, named)

    @contextmanager
    def _room(self, path: str) -> Iterator[None]:
        """Work that nobody can do now is not begun. A stream of events is no work, and has a limit of its own."""
        if path in PROBES or path.endswith("/events"):
            yield
            return
        if self._inside >= self._most:
            words = f"{self._most} requests are being answered already; try again soon"
            raise Refused.later(HTTPStatus.SERVICE_UNAVAILABLE, "busy", words)
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def _admit(self, scope: Scope) -> None:
        if scope["path"] in OPEN:
            return
        headers = Headers(scope=scope)
        wanted = _wanted(scope["method"], scope["path"])
        name = await run_in_threadpool(self._name, headers, wanted)
        if not self._buckets.take(name, time.monotonic()):
            raise Refused.later(HTTPStatus.TOO_MANY_REQUESTS, "rate", "too many requests with this token; slow down")

    def _name(self, headers: Headers, wanted: Allowed) -> str:
        """Whose request it is.

        Raises:
            Refused: nobody's, or somebody's who may not do this.
            StoreUnavailable: nobody can tell.
        """
        if (given := headers.get("authorization")) is None:
            return self._without_token(headers)
        scheme, _, presented = given.partition(" ")
        token = self._tokens.find(presented.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            raise _unknown("this token is not known; `blendq token list` shows those that are")
        if not token.scope.allows(wanted):
            words = f"token {token.name} may {token.scope}; this takes {wanted}"
            raise Refused(HTTPStatus.FORBIDDEN, "scope", words)
        return token.name

    def _without_token(self, headers: Headers) -> str:
        """Whoever is on this machine, while there is no token: but for pages of others, which a browser here shows."""
        if not self._loopback or self._tokens.any():
            raise _unknown("send `Authorization: Bearer TOKEN`; `blendq token create` makes one")
        origin = headers.get("origin")
        if _host(headers.get("host", "")) not in LOCAL_NAMES or (
            origin and origin.partition("://")[2] != headers["host"]
        ):
            raise Refused(HTTPStatus.FORBIDDEN, "origin", "without a token only programs of this machine are answered")
        return ""


def _wanted(method: str, path: str) -> Allowed:
    if method in ("GET", "HEAD", "OPTIONS"):
        return Allowed.READ
    return Allowed.ADMIN if path.startswith(("/v1/campaigns", "/v1/schedules")) else Allowed.WRITE


def _host(header: str) -> str | None:
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None


def _unknown(words: str) -> Refused:
    return Refused(HTTPStatus.UNAUTHORIZED, "unauthorized", words, headers={"WWW-Authenticate": "Bearer"})


def _with_id(send: Send, request_id: str, scope: Scope) -> Send:
    """Adds the id to the answer, and writes a line of the log when that begins."""
    began = time.monotonic()

    async def named(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["X-Request-Id"] = request_id
            if scope["path"] not in PROBES:
                path = scope["raw_path"].decode("ascii", "replace")
                took = (time.monotonic() - began) * 1000
                _log.info("%s %s %s %d %.0f ms", request_id, scope["method"], path, message["status"], took)
        await send(message)

    return named

"""The sandbox's own calls, `/sandbox/…`: the ledger, the faults, the capacity. They need no key."""

from __future__ import annotations

from collections import Counter

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ops.sandbox.faults import Faults
from ops.sandbox.sandbox import Sandbox
from ops.sandbox.submission import Unreadable, read_object

_CAPACITY = ("accounts", "core_size", "queue_size")


class Controls:
    def __init__(self, sandbox: Sandbox) -> None:
        self._box = sandbox

    async def ledger(self, request: Request) -> Response:
        """`?since=N` leaves out the first N, for those who ask again and again."""
        since = request.query_params.get("since", "0")
        return JSONResponse(self._box.ledger.as_json(int(since) if since.isdecimal() else 0))

    async def faults(self, request: Request) -> Response:
        """GET shows them, POST merges, DELETE ends them all."""
        try:
            if request.method == "POST":
                self._box.faults = self._box.faults.merged(read_object(await request.body()))
        except (Unreadable, ValueError) as error:
            return _wrong(error)
        if request.method == "DELETE":
            self._box.faults = Faults()
        return JSONResponse(vars(self._box.faults))

    async def accounts(self, request: Request) -> Response:
        try:
            if request.method == "POST":
                self._resize(read_object(await request.body()))
        except (Unreadable, ValueError) as error:
            return _wrong(error)
        return JSONResponse([account.as_json() for account in self._box.accounts])

    async def forget(self, _request: Request) -> Response:
        forgotten = len(self._box.memory)
        self._box.forget()
        return JSONResponse({"forgotten": forgotten})

    async def stats(self, _request: Request) -> Response:
        """How things stand: tasks by status, callbacks by outcome."""
        statuses = Counter(str(task.status) for task in self._box.memory)
        return JSONResponse(
            {
                "personality": str(self._box.personality.name),
                "tasks": dict(statuses),
                "callbacks": self._box.callbacks.as_json(),
                "accepted": len(self._box.ledger),
            }
        )

    def _resize(self, fields: dict[str, object]) -> None:
        sizes: dict[str, int | None] = dict.fromkeys(_CAPACITY)
        for name, value in fields.items():
            if name not in _CAPACITY:
                raise ValueError(f"unknown field {name!r}; known: {', '.join(_CAPACITY)}")
            if not isinstance(value, int) or isinstance(value, bool) or value < (name == "core_size"):
                raise ValueError(f"{name} must be a whole number, and large enough")
            sizes[name] = value
        self._box.accounts.resize(sizes["accounts"], sizes["core_size"], sizes["queue_size"])
        self._box.life.fill()


def control_routes(sandbox: Sandbox) -> list[Route]:
    controls = Controls(sandbox)
    return [
        Route("/sandbox/ledger", controls.ledger),
        Route("/sandbox/faults", controls.faults, methods=["GET", "POST", "DELETE"]),
        Route("/sandbox/accounts", controls.accounts, methods=["GET", "POST"]),
        Route("/sandbox/forget", controls.forget, methods=["POST"]),
        Route("/sandbox/stats", controls.stats),
    ]


def _wrong(error: Exception) -> Response:
    return JSONResponse({"error": str(error) or "the body must be a JSON object"}, status_code=400)

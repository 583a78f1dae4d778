"""Parameters: a query may hold only those that the call takes. A typing error must not silently mean all jobs."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request

from producer.api.problems import Refused

_MAX_SHOWN = 60


async def only_known_parameters(request: Request) -> None:
    """
    Raises:
        Refused: there is another one.
    """
    if not request.query_params:
        return
    taken = _taken(request.app, request.scope["route"].path_format, request.method.lower())
    for name in request.query_params:
        if name not in taken:
            what = f"this call takes {', '.join(taken)}" if taken else "this call takes none"
            words = f"unknown parameter {name[:_MAX_SHOWN]!r}; {what}"
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", words)


def _taken(app: FastAPI, path: str, method: str) -> list[str]:
    """As the OpenAPI document has it."""
    parameters = app.openapi()["paths"][path][method].get("parameters", [])
    return sorted(one["name"] for one in parameters if one["in"] == "query")

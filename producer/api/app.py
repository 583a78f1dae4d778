"""The application: which file answers what, and the OpenAPI document that says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi

from producer.api import (
    batch_routes,
    campaign_routes,
    event_routes,
    health_routes,
    image_routes,
    job_routes,
    schedule_routes,
)
from producer.api.bodies import BatchJob, NewJob, Wishes
from producer.api.campaign_routes import PlanChange
from producer.api.follower import Follower
from producer.api.guard import OPEN
from producer.api.parameters import only_known_parameters
from producer.api.problems import Problem, tell_problems
from producer.api.schedule_routes import NewSchedule
from producer.api.views import BatchAnswer
from producer.client import Producer

# Each waits for Redis or the disk, and decodes at most one picture.
THREADS = 16
_ROUTES = (
    job_routes,
    batch_routes,
    image_routes,
    campaign_routes,
    schedule_routes,
    event_routes,
)
_MODELS = "#/components/schemas/{model}"
_PROBLEM = {"application/problem+json": {"schema": {"$ref": _MODELS.format(model="Problem")}}}
_ABOUT = """Image blends in bulk through a Midjourney proxy API: nothing lost, nothing paid twice.

Enqueue with an `Idempotency-Key`: the same call again is then always safe. URLs in answers are relative to this server.
Tokens have a scope: `read` for GET, `write` for jobs and pictures, `admin` for campaigns and schedules.
"""


def make_app(blends: Producer, follower: Follower) -> FastAPI:
    """The routes over a producer, and what follows its jobs; without their guard."""
    app = FastAPI(
        title="blendq",
        version=version("blendq"),
        description=_ABOUT,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=_bounded,
    )
    app.state.blends = blends
    app.state.follower = follower
    for routes in _ROUTES:
        app.include_router(routes.router, dependencies=[Depends(only_known_parameters)])
    app.include_router(health_routes.router)  # probes may ask for more than there is, as in /livez?verbose
    tell_problems(app)
    document: dict[str, Any] = {}
    app.openapi = lambda: document or document.update(_described(app)) or document  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _bounded(_app: FastAPI) -> AsyncIterator[None]:
    current_default_thread_limiter().total_tokens = THREADS
    yield


def _described(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document; with the models that it does not see, our problems, and the tokens."""
    found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for model in (NewJob, BatchJob, BatchAnswer, PlanChange, Wishes, NewSchedule, Problem):
        schema = model.model_json_schema(ref_template=_MODELS)
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in found["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = {"description": "It was not done.", "content": _PROBLEM}
            if path not in OPEN:
                operation["security"] = [{"token": []}]
    return found

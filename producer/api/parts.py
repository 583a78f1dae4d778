"""What the routes are given."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request

from jobs.errors import JobNotFound, UsageError
from producer.client import Producer

MAX_PAGE = 200
_MODEL = "#/components/schemas/{}"


async def _blends(request: Request) -> Producer:
    blends = request.app.state.blends
    assert isinstance(blends, Producer)  # noqa: S101  (from `make_app`)
    return blends


Blends = Annotated[Producer, Depends(_blends)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="how many at most")]
After = Annotated[str | None, Query(max_length=200, description="`next` of the page before")]
JobId = Annotated[str, Path(max_length=100)]
CampaignName = Annotated[str, Path(max_length=64, pattern="^[A-Za-z0-9._-]+$")]


def known(blends: Producer, job_id: str) -> str:
    """The id, which is written into nothing before it is known to be a job's.

    Raises:
        JobNotFound: there is no such job.
    """
    if not job_id.isascii() or not job_id.isprintable() or blends.store.find(job_id) is None:
        raise JobNotFound(f"there is no job {job_id!r}; GET /v1/jobs lists what there is")
    return job_id


def takes(media_type: str, schema: dict[str, Any], example: Any) -> dict[str, Any]:
    """What the OpenAPI document says of a body that we read ourselves."""
    content = {media_type: {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def model(name: str) -> dict[str, Any]:
    return {"$ref": _MODEL.format(name)}


def bad_cursor() -> UsageError:
    return UsageError("after: is no `next` of a page of this list; begin without it")

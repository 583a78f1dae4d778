"""/v1/campaigns: look at campaigns, and order what becomes of all their jobs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from jobs.job import Status
from producer.api.bodies import JsonBody, from_json
from producer.api.parts import After, Blends, CampaignName, Limit, bad_cursor, model, takes
from producer.api.views import CampaignPage, OrderedView
from producer.campaign import summary
from producer.client import Producer
from producer.report import campaign_json, plan_json

router = APIRouter(tags=["campaigns"])


class PlanChange(BaseModel):
    """What is asked for a campaign from now on. What is left out stays; null lifts a bound."""

    model_config = ConfigDict(extra="forbid")

    weight: float = 1.0
    max_submissions: int | None = None
    stop_after_failures: float | None = None


@router.get("/v1/campaigns")
def list_campaigns(blends: Blends, limit: Limit = 50, after: After = None) -> CampaignPage:
    """List campaigns with their counts, the oldest first."""
    names = [name for name, _ in blends.store.campaigns()]
    if after is not None and after not in names:
        raise bad_cursor()
    start = 0 if after is None else names.index(after) + 1
    shown, rest = names[start : start + limit], names[start + limit :]
    return CampaignPage(
        data=[_shown(blends, name) for name in shown], has_more=bool(rest), next=shown[-1] if rest else None
    )


@router.get("/v1/campaigns/{name}")
def show_campaign(blends: Blends, name: CampaignName) -> dict[str, Any]:
    """A campaign: its counts, submissions, plan, and why it is paused."""
    return _shown(blends, name)


@router.post("/v1/campaigns/{name}/pause")
def pause_campaign(
    blends: Blends,
    name: CampaignName,
    why: Annotated[str, Query(max_length=200, description="for people")] = "by a person's order",
) -> dict[str, Any]:
    """Submit nothing more of it. What the API has goes on."""
    blends.campaign(name).pause(why)
    return _shown(blends, name)


@router.post("/v1/campaigns/{name}/resume")
def resume_campaign(blends: Blends, name: CampaignName) -> dict[str, Any]:
    """Go on; the failures so far are forgiven. 409 when its budget is spent."""
    blends.campaign(name).resume()
    return _shown(blends, name)


@router.post("/v1/campaigns/{name}/cancel")
def cancel_campaign(blends: Blends, name: CampaignName) -> OrderedView:
    """Give every job up that is not finished. What the API has is cancelled there, if the API can."""
    return OrderedView.of(blends.campaign(name).cancel())


@router.post("/v1/campaigns/{name}/retry")
def retry_campaign(
    blends: Blends,
    name: CampaignName,
    status: Annotated[list[Status] | None, Query(description="failed (default), cancelled, parked")] = None,
    kind: Annotated[list[str] | None, Query(description="only those whose reason is of one of these kinds")] = None,
) -> OrderedView:
    """Try jobs again that have ended without a picture. A parked one may have been paid for: this may pay again."""
    return OrderedView.of(blends.campaign(name).retry(status or (Status.FAILED,), kind or ()))


@router.patch(
    "/v1/campaigns/{name}/plan",
    openapi_extra=takes("application/json", model("PlanChange"), {"max_submissions": 500}),
)
def change_plan(blends: Blends, name: CampaignName, body: JsonBody) -> dict[str, Any]:
    """Ask for another weight, budget or bound on failures. It may be done before the first job is enqueued."""
    change = from_json(PlanChange, body)
    plan = blends.campaign(name).change_plan(**change.model_dump(exclude_unset=True))
    return {"name": name, "plan": plan_json(plan)}


def _shown(blends: Producer, name: str) -> dict[str, Any]:
    return campaign_json(summary(blends.store, name))

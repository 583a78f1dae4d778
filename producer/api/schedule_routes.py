"""/v1/schedules: manifests that are enqueued by the clock, out of the one folder that the settings allow."""

from __future__ import annotations

import glob
import os
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Response
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field

from jobs.errors import InvalidRequest, ScheduleNotFound
from jobs.report import rfc3339
from jobs.schedule import Outcome, Overlap, Schedule
from producer.api.bodies import JsonBody, from_json
from producer.api.parts import Blends, model, takes
from producer.api.problems import Refused
from producer.client import Producer

router = APIRouter(tags=["schedules"])

NEXT_TIMES = 3
EXAMPLE = {"manifest": "incoming/*.csv", "cron": "0 3 * * *", "timezone": "Europe/Berlin", "overlap": "queue"}
Name = Annotated[str, InPath(max_length=40, pattern="^[A-Za-z0-9._-]+$")]


class NewSchedule(BaseModel):
    """What is to be enqueued, and when: by either `cron` or `every_seconds`."""

    model_config = ConfigDict(extra="forbid")

    manifest: Annotated[
        str, Field(min_length=1, max_length=500, description="within the folder for schedules; may hold * and ?")
    ]
    cron: Annotated[str | None, Field(max_length=200, description="minute, hour, day, month, weekday")] = None
    every_seconds: float | None = None
    timezone: Annotated[str, Field(max_length=100, description="of the cron fields, as Europe/Berlin")] = "UTC"
    overlap: Annotated[Overlap, Field(description="while the run before is unfinished")] = Overlap.SKIP
    catch_up_seconds: Annotated[float, Field(description="a run that comes later than this is left out")] = 3600.0
    paused: bool = False


class RanView(BaseModel):
    """What became of a run."""

    at: str
    outcome: Outcome
    campaign_id: str | None
    jobs: int
    message: str


class ScheduleView(BaseModel):
    """A schedule, its next times and, of one that was asked for by name, its last runs, the oldest first."""

    name: str
    object: str = "schedule"
    manifest: str
    cron: str | None
    every_seconds: float | None
    timezone: str
    overlap: Overlap
    catch_up_seconds: float
    paused: bool
    next_times: list[str]
    runs: list[RanView] = []

    @classmethod
    def of(cls, blends: Producer, one: Schedule) -> Self:
        times = [] if one.paused else one.next_times(blends.schedules.now(), NEXT_TIMES)
        return cls(
            **one.model_dump(exclude={"manifest", "root"}),
            manifest=one.manifest if one.root is None else os.path.relpath(one.manifest, one.root),
            next_times=[rfc3339(at) or "" for at in times],
        )


class SchedulePage(BaseModel):
    """All schedules, by name."""

    object: str = "list"
    data: list[ScheduleView]


class AskedView(BaseModel):
    """A run that a scheduler was asked for, and the campaign that its jobs will be in."""

    at: str
    campaign_id: str


async def _root(blends: Blends) -> Path:
    if (root := blends.settings.schedule_root) is None:
        words = "there are no schedules by HTTP: set BLENDQ_SCHEDULE_ROOT to the folder that their manifests are in"
        raise Refused(HTTPStatus.CONFLICT, "schedules_off", words)
    return root


Root = Annotated[Path, Depends(_root)]


@router.get("/v1/schedules", dependencies=[Depends(_root)])
def list_schedules(blends: Blends) -> SchedulePage:
    """List all schedules, by name, with their next times."""
    return SchedulePage(data=[ScheduleView.of(blends, one) for one in blends.schedules.all()])


@router.get("/v1/schedules/{name}", dependencies=[Depends(_root)])
def show_schedule(blends: Blends, name: Name) -> ScheduleView:
    """A schedule, and what became of its last runs."""
    view = ScheduleView.of(blends, blends.schedules.get(name))
    runs = [
        RanView(**ran.model_dump(exclude={"at", "campaign"}), at=rfc3339(ran.at) or "", campaign_id=ran.campaign)
        for ran in blends.schedules.runs(name)
    ]
    return view.model_copy(update={"runs": runs})


@router.put(
    "/v1/schedules/{name}",
    openapi_extra=takes("application/json", model("NewSchedule"), EXAMPLE),
    responses={201: {"description": "It is new.", "model": ScheduleView}},
)
def put_schedule(blends: Blends, root: Root, name: Name, body: JsonBody, response: Response) -> ScheduleView:
    """Make a schedule, or put it in the place of the one of its name. The manifest is read at each run."""
    new = from_json(NewSchedule, body)
    made = Schedule.parse(name=name, root=str(root), **_fields(new, root))
    response.status_code = HTTPStatus.OK if _is_known(blends, name) else HTTPStatus.CREATED
    blends.schedules.put(made)
    return ScheduleView.of(blends, made)


@router.delete("/v1/schedules/{name}", status_code=204, dependencies=[Depends(_root)])
def remove_schedule(blends: Blends, name: Name) -> None:
    """Forget it. The campaigns of its runs stay."""
    blends.schedules.remove(name)


@router.post("/v1/schedules/{name}/pause", dependencies=[Depends(_root)])
def pause_schedule(blends: Blends, name: Name) -> ScheduleView:
    """Let no further run begin."""
    return ScheduleView.of(blends, blends.schedules.pause(name, True))


@router.post("/v1/schedules/{name}/resume", dependencies=[Depends(_root)])
def resume_schedule(blends: Blends, name: Name) -> ScheduleView:
    """Go on from now; what was left out meanwhile is not made up for."""
    return ScheduleView.of(blends, blends.schedules.pause(name, False))


@router.post("/v1/schedules/{name}/run", status_code=202, dependencies=[Depends(_root)])
def run_schedule(blends: Blends, name: Name) -> AskedView:
    """Ask for a run now, beside those of the clock. A scheduler does it, and minds the schedule's `overlap`."""
    run = blends.schedules.ask(name)
    return AskedView(at=rfc3339(run.at) or "", campaign_id=blends.schedules.get(name).campaign_of(run.at))


def _fields(new: NewSchedule, root: Path) -> dict[str, Any]:
    """
    Raises:
        InvalidRequest: the manifest is not in the root. Looked at again when it is read: links may change.
    """
    name = new.manifest
    if "\0" in name or name.startswith(("/", "~")) or os.pardir in Path(name).parts:
        raise InvalidRequest("manifest: name it by its path in the folder for schedules, without '..'")
    path = root / name
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise InvalidRequest("manifest: a link leads it out of the folder for schedules")
    return new.model_dump(exclude={"manifest"}) | {"manifest": str(Path(glob.escape(str(root))) / name)}


def _is_known(blends: Producer, name: str) -> bool:
    try:
        blends.schedules.get(name)
    except ScheduleNotFound:
        return False
    return True

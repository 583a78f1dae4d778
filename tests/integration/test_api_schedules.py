"""Schedules over HTTP: made, replaced, run; and never out of their folder, whatever is named or linked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.schedule import Outcome, Schedule
from jobs.settings import Settings
from producer import Producer
from producer.scheduler import Scheduler
from tests.integration.service import Service, noise, problem, serving

DAILY = {"manifest": "pairs.csv", "cron": "0 3 * * *", "timezone": "Europe/Berlin"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a manifest and its pictures in it; and beside it a folder with the same."""
    above = tmp_path_factory.mktemp("schedules")
    for folder in (above / "outside", above / "allowed"):
        folder.mkdir()
        for name in ("a.png", "b.png"):
            (folder / name).write_bytes(noise())
        (folder / "pairs.csv").write_text("image1,image2\na.png,b.png\n")
    return above / "allowed"


@pytest.fixture(scope="module")
def service(stack: Settings, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(stack, tmp_path_factory.mktemp("api"), BLENDQ_SCHEDULE_ROOT=str(root)) as made:
        yield made


@pytest.fixture(autouse=True)
def none_left(blends: Producer) -> Iterator[None]:
    yield
    for one in blends.schedules.all():
        blends.schedules.remove(one.name)


def ran(service: Service, blends: Producer, name: str) -> dict[str, Any]:
    """What became of a run that was asked for."""
    asked = service.http.post(f"/v1/schedules/{name}/run")
    assert asked.status_code == 202, asked.text
    assert Scheduler(blends, blends.schedules).step()
    (last,) = service.http.get(f"/v1/schedules/{name}").json()["runs"][-1:]
    assert last["at"] == asked.json()["at"]
    if last["campaign_id"]:
        assert last["campaign_id"] == asked.json()["campaign_id"]
    found: dict[str, Any] = last
    return found


def test_the_life_of_a_schedule(service: Service, blends: Producer, root: Path) -> None:
    made = service.http.put("/v1/schedules/nightly", json=DAILY)
    assert made.status_code == 201, made.text
    assert made.json().items() >= DAILY.items()
    assert len(made.json()["next_times"]) == 3
    assert (blends.schedules.get("nightly").manifest, blends.schedules.get("nightly").root) == (
        str(root / "pairs.csv"), str(root),
    )  # fmt: skip
    again = service.http.put("/v1/schedules/nightly", json={"manifest": "pairs.csv", "every_seconds": 3600})
    assert (again.status_code, again.json()["cron"], again.json()["every_seconds"]) == (200, None, 3600)
    assert [one["name"] for one in service.http.get("/v1/schedules").json()["data"]] == ["nightly"]
    assert service.http.post("/v1/schedules/nightly/pause").json()["next_times"] == []
    assert len(service.http.post("/v1/schedules/nightly/resume").json()["next_times"]) == 3
    run = ran(service, blends, "nightly")
    assert (run["outcome"], run["jobs"]) == (Outcome.ENQUEUED, 1)
    assert len(service.http.get("/v1/jobs", params={"campaign": run["campaign_id"]}).json()["data"]) == 1
    assert ran(service, blends, "nightly")["outcome"] == Outcome.SKIPPED, "the first run is not finished"
    assert service.http.delete("/v1/schedules/nightly").status_code == 204
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/run"), ("POST", "/pause"), ("POST", "/resume")):
        problem(service.http.request(method, f"/v1/schedules/nightly{path}"), 404, "schedule_not_found")


@pytest.mark.parametrize(
    "manifest",
    ["/etc/passwd", "../outside/pairs.csv", "x/../../outside/pairs.csv", "x/../pairs.csv", "~/x.csv", "a\0b"],
)
def test_a_manifest_that_is_named_outside_is_refused(service: Service, blends: Producer, manifest: str) -> None:
    problem(service.http.put("/v1/schedules/out", json=DAILY | {"manifest": manifest}), 422, "invalid_request")
    assert blends.schedules.all() == []


def test_a_link_out_of_the_folder_is_refused_now_and_at_each_run(
    service: Service, blends: Producer, root: Path
) -> None:
    (root / "link").symlink_to(root.parent / "outside")
    for manifest in ("link/pairs.csv", "link/*.csv"):
        problem(service.http.put("/v1/schedules/out", json=DAILY | {"manifest": manifest}), 422, "invalid_request")
    (root / "link").unlink()
    (root / "link").mkdir()
    assert service.http.put("/v1/schedules/out", json=DAILY | {"manifest": "link/*.csv"}).status_code == 201
    (root / "link").rmdir()
    (root / "link").symlink_to(root.parent / "outside")
    run = ran(service, blends, "out")
    (root / "link").unlink()
    assert (run["outcome"], run["jobs"]) == (Outcome.FAILED, 0)
    assert "outside the folder that manifests may come from" in run["message"]


@pytest.mark.parametrize("image", ["../outside/a.png", "link.png", "/etc/hostname"])
def test_pictures_are_of_the_folder_too(service: Service, blends: Producer, root: Path, image: str) -> None:
    if not (root / "link.png").is_symlink():
        (root / "link.png").symlink_to(root.parent / "outside" / "a.png")
    (root / "bad.csv").write_text(f"image1,image2\na.png,{image}\n")
    assert service.http.put("/v1/schedules/bad", json=DAILY | {"manifest": "bad.csv"}).status_code == 201
    run = ran(service, blends, "bad")
    assert (run["outcome"], run["jobs"]) == (Outcome.FAILED, 0)
    assert "line 2" in run["message"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"manifest": ""}, "invalid_request"),
        ({"colour": "red"}, "invalid_request"),
        ({"cron": None}, "usage"),
        ({"cron": "61 * * * *"}, "usage"),
        ({"every_seconds": 60}, "usage"),
        ({"cron": None, "every_seconds": 0.5}, "usage"),
        ({"cron": None, "every_seconds": 1e300}, "usage"),
        ({"catch_up_seconds": -1}, "usage"),
        ({"timezone": "Mars/Base"}, "usage"),
        ({"overlap": "maybe"}, "invalid_request"),
    ],
)
def test_what_is_no_schedule_is_refused(service: Service, fields: dict[str, Any], code: str) -> None:
    problem(service.http.put("/v1/schedules/odd", json=DAILY | fields), 422, code)


def test_schedules_of_the_command_line_are_seen_and_keep_their_freedom(
    service: Service, blends: Producer, root: Path
) -> None:
    outside = str(root.parent / "outside" / "pairs.csv")
    blends.schedules.put(Schedule.parse(name="mine", manifest=outside, every_seconds=3600.0))
    assert service.http.get("/v1/schedules/mine").json()["manifest"] == outside
    assert ran(service, blends, "mine")["outcome"] == Outcome.ENQUEUED


def test_without_a_folder_there_are_none(stack: Settings, tmp_path: Path) -> None:
    with serving(stack, tmp_path) as service:
        for method, path in (("GET", ""), ("PUT", "/x"), ("POST", "/x/run"), ("DELETE", "/x")):
            said = problem(service.http.request(method, f"/v1/schedules{path}", json=DAILY), 409, "schedules_off")
            assert "BLENDQ_SCHEDULE_ROOT" in said["detail"]

"""Which jobs of a fault run may end without a picture: by name, and for their own reason only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobs.job import Job, Reason, Status
from jobs.request import BlendRequest
from ops.chaos.expected import Expected
from ops.chaos.traps import Traps
from ops.chaos.watch import Watch
from ops.sandbox.pictures import PictureSpec

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INPUTS = {f"job_{letter}": (letter * 64, "f" * 64) for letter in "abcd"}
CONFLICT, POISON, PICTURE = (Status.PARKED, "conflict"), (Status.PARKED, "poison"), (Status.PARKED, "picture")
UNSURE, FAILED, SUCCEEDED = (Status.PARKED, "unsure"), (Status.FAILED, "failed"), (Status.SUCCEEDED, None)


class Api:
    """Writes what the simulated API would write."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "api"
        self._folder.mkdir()

    def accept(self, job: str, task_id: str) -> None:
        self._write("ledger", kind="accepted", at=NOW.isoformat(), task_id=task_id, inputs=INPUTS[job])

    def end(self, job: str, task_id: str, status: str, *, shows: str = "", spoil: str = "") -> None:
        """End a task; it shows the picture that was made for the job `shows`."""
        spec = PictureSpec(INPUTS[job], "SQUARE").as_json()
        shown = f"picture-of-{shows}" if shows else None
        self._write("tasks", id=task_id, status=status, finish_time=1, picture=spec, shown_picture=shown)
        self._write("pictures", name=f"picture-of-{job}", spec=spec, spoil=spoil)

    def _write(self, file_name: str, **entry: Any) -> None:
        with (self._folder / f"{file_name}.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return Api(tmp_path)


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    made = Watch(tmp_path, "redis://127.0.0.1:1/0")  # nobody is asked there
    yield made
    made.close()


def problem(watch: Watch, folder: Path, job_id: str, end: tuple[Status, str | None]) -> str | None:
    watch.read_tasks()
    expected = Expected(folder, watch, {inputs: name for name, inputs in INPUTS.items()})
    status, kind = end
    reason = Reason(kind=kind, message="") if kind else None
    request = BlendRequest(images=tuple(f"sha256:{digest}" for digest in INPUTS[job_id]))
    return expected.problem(Job(id=job_id, request=request, created_at=NOW, order=1, status=status, reason=reason))


def test_without_a_fault_only_a_success_or_a_doubt_is_right(api: Api, watch: Watch, tmp_path: Path) -> None:
    api.accept("job_a", "1")
    api.end("job_a", "1", "SUCCESS", shows="job_a")
    ends = (SUCCEEDED, UNSURE, FAILED, CONFLICT, PICTURE)
    assert [problem(watch, tmp_path, "job_a", end) is None for end in ends] == [True, True, False, False, False]


def test_a_failure_there_excuses_its_own_job_alone(api: Api, watch: Watch, tmp_path: Path) -> None:
    api.accept("job_a", "1")
    api.accept("job_b", "2")
    api.end("job_a", "1", "FAILURE")
    assert problem(watch, tmp_path, "job_a", FAILED) is None
    assert problem(watch, tmp_path, "job_b", FAILED)


def test_what_the_api_forgot_has_not_failed(api: Api, watch: Watch, tmp_path: Path) -> None:
    api.accept("job_a", "1")
    watch.forgotten_now()
    assert problem(watch, tmp_path, "job_a", FAILED)


def test_two_with_one_task_may_be_in_conflict_and_a_third_may_not(api: Api, watch: Watch, tmp_path: Path) -> None:
    for job, task_id in (("job_a", "1"), ("job_b", "1"), ("job_c", "2")):
        api.accept(job, task_id)
    found = [problem(watch, tmp_path, job, CONFLICT) is None for job in ("job_a", "job_b", "job_c")]
    assert found == [True, True, False]


def test_two_with_one_picture_may_be_in_conflict_and_a_third_may_not(api: Api, watch: Watch, tmp_path: Path) -> None:
    for number, (job, shows) in enumerate((("job_a", "job_a"), ("job_b", "job_a"), ("job_c", "job_c"))):
        api.accept(job, str(number))
        api.end(job, str(number), "SUCCESS", shows=shows)
    found = [problem(watch, tmp_path, job, CONFLICT) is None for job in ("job_a", "job_b", "job_c")]
    assert found == [True, True, False]


def test_a_picture_spoiled_for_good_parks_its_job_and_never_succeeds(api: Api, watch: Watch, tmp_path: Path) -> None:
    api.accept("job_a", "1")
    api.end("job_a", "1", "SUCCESS", shows="job_a", spoil="bomb")
    assert problem(watch, tmp_path, "job_a", PICTURE) is None
    assert problem(watch, tmp_path, "job_a", SUCCEEDED)


def test_a_poison_job_is_parked_as_that_and_nothing_else(watch: Watch, tmp_path: Path) -> None:
    Traps(tmp_path / "traps").poison("job_d")
    ends = (POISON, UNSURE, SUCCEEDED, FAILED)
    assert [problem(watch, tmp_path, "job_d", end) is None for end in ends] == [True, False, False, False]

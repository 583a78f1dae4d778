"""A record with some fields changed is a record like any other."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from jobs.job import Job, Status
from tests.unit.lifecycle_world import new_job


def test_a_changed_record_is_what_a_copy_is() -> None:
    job = new_job(campaign="summer")
    changed, copy = job.but(status=Status.PARKED, order=7), job.model_copy(update={"status": Status.PARKED, "order": 7})
    assert (changed, repr(changed), changed.model_fields_set) == (copy, repr(copy), copy.model_fields_set)
    assert changed.model_dump_json(exclude_unset=True) == copy.model_dump_json(exclude_unset=True)
    assert Job.model_validate_json(changed.model_dump_json()) == changed
    assert (job.status, job.order) == (Status.WAITING, 0), "the one before stays as it is"


def test_a_changed_record_cannot_be_changed_itself() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        new_job().but(order=7).order = 8  # type: ignore[misc]

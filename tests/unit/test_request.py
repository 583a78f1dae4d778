"""BlendRequest: whatever it takes can be written, and read again."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import jobs.request
from jobs.errors import InvalidRequest
from jobs.job import Job
from jobs.request import MAX_METADATA_DEPTH, BlendRequest


def nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels - 1):
        found = {"a": [found]} if levels % 2 else {"a": found}
    return found


def test_metadata_that_is_taken_can_be_read_again() -> None:
    request = BlendRequest(images=("a", "b"), metadata=nested(MAX_METADATA_DEPTH))
    job = Job(id="job_1", request=request, created_at=datetime.now(UTC))
    assert Job.model_validate_json(job.model_dump_json()) == job


@pytest.mark.parametrize("levels", [MAX_METADATA_DEPTH + 1, 199, 250, 399])
def test_metadata_that_is_nested_too_deeply_is_refused(levels: int) -> None:
    with pytest.raises(InvalidRequest, match="metadata"):
        BlendRequest.parse({"images": ["a", "b"], "metadata": nested(levels)})


@pytest.mark.parametrize("field", ["instance_id", "state", "custom_id", "notify_hook", "images", "metadata"])
def test_half_a_character_is_refused_wherever_it_stands(field: str) -> None:
    """It could be enqueued, and the record not be written."""
    half = "https://a.test/\ud800"
    given: object = {"images": ["a", half], "metadata": {"a": half}}.get(field, half)
    with pytest.raises(InvalidRequest):
        BlendRequest.parse({"images": ["a", "b"], field: given})


def test_type_checkers_are_told_of_every_field() -> None:
    """The call is typed by hand, since it takes more than the fields hold."""
    tree = ast.parse(Path(jobs.request.__file__).read_text(encoding="utf-8"))
    (call,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    assert [one.arg for one in call.args.kwonlyargs] == list(BlendRequest.model_fields)

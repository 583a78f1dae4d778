"""The OpenAPI document, and the HTTP API asked whatever it allows and more: it never breaks, and answers as it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from jobs.settings import Settings
from producer.api.bodies import NewJob
from tests.integration.service import Service, serving

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
EXAMPLES = 10
# Streams of events have no end to wait for.
ENDLESS = "/events$"


@pytest.fixture(scope="module")
def service(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("api")
    free = {"BLENDQ_SERVICE_REQUESTS_PER_SECOND": "100000", "BLENDQ_SCHEDULE_ROOT": str(folder)}
    with serving(stack, folder, **free) as made:
        yield made


@schemathesis.serializer("application/x-ndjson")
def one_line(_context: Any, value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


@pytest.mark.no_cover
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_whatever_it_is_asked_it_answers(service: Service, mode: GenerationMode) -> None:
    """What the document allows, and what it does not."""
    document = schemathesis.openapi.from_url(f"{service.url}/v1/openapi.json").exclude(path_regex=ENDLESS)
    operations: Any = document.get_all_operations()
    asked = [_asked(found.ok(), mode) for found in operations]
    assert len(asked) >= 24
    assert sum(asked) > 5 * len(asked)


def _asked(operation: Any, mode: GenerationMode) -> int:
    """How often it was."""
    count = 0

    @settings(max_examples=EXAMPLES, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        nonlocal count
        count += 1
        case.validate_response(case.call(timeout=30), checks=CHECKS)

    with suppress(Unsatisfiable):  # nothing can be wrong with a call that takes nothing
        ask()
    return count


def test_every_call_is_described_with_its_problems_and_its_token(service: Service) -> None:
    found = service.http.get("/v1/openapi.json").json()
    assert len(found["paths"]) >= 17
    for path, operations in found["paths"].items():
        for operation in operations.values():
            assert operation["description"]
            assert "application/problem+json" in operation["responses"]["default"]["content"]
            assert ("security" in operation) == (path not in ("/livez", "/readyz")), path


def test_the_examples_are_jobs(service: Service) -> None:
    paths = service.http.get("/v1/openapi.json").json()["paths"]
    content = paths["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    assert NewJob.model_validate(content["example"]).custom_id == "order-17"
    content = paths["/v1/schedules/{name}"]["put"]["requestBody"]["content"]["application/json"]
    assert service.http.put("/v1/schedules/example", json=content["example"]).status_code == 201

"""The HTTP API as its own process: who is let in, how much, and what is told while Redis is away."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs.server import connect
from jobs.settings import Settings
from ops.embedded import EmbeddedServer
from ops.ownership import Ownership
from producer import Producer
from producer.tokens import Scope
from tests.integration.service import LEAVE_SECONDS, Service, bearer, problem, serving, start
from tests.integration.workbench import wait_for


@pytest.fixture
def service(stack: Settings, tmp_path: Path) -> Iterator[Service]:
    with serving(stack, tmp_path) as made:
        yield made


@pytest.fixture
def tokens(blends: Producer) -> Iterator[dict[Scope, str]]:
    """One of each scope; gone after the test."""
    yield {scope: blends.tokens.create(scope.value, scope) for scope in Scope}
    for scope in Scope:
        blends.tokens.revoke(scope.value)


CALLS = [
    (Scope.READ, "GET", "/v1/jobs"),
    (Scope.READ, "GET", "/v1/campaigns"),
    (Scope.READ, "GET", "/metrics"),
    (Scope.WRITE, "POST", "/v1/jobs"),
    (Scope.WRITE, "PUT", "/v1/images"),
    (Scope.WRITE, "DELETE", "/v1/jobs/job_x"),
    (Scope.WRITE, "POST", "/v1/jobs/job_x/retry"),
    (Scope.ADMIN, "POST", "/v1/campaigns/x/cancel"),
    (Scope.ADMIN, "PATCH", "/v1/campaigns/x/plan"),
    (Scope.READ, "GET", "/v1/schedules"),
    (Scope.ADMIN, "PUT", "/v1/schedules/x"),
    (Scope.ADMIN, "POST", "/v1/schedules/x/run"),
]


def test_each_scope_allows_itself_and_what_is_less(service: Service, tokens: dict[Scope, str]) -> None:
    for needed, method, path in CALLS:
        problem(service.http.request(method, path), 401, "unauthorized")
        for scope, token in tokens.items():
            answer = service.http.request(method, path, headers=bearer(token))
            if scope.allows(needed):
                assert answer.status_code not in (401, 403), (scope, path)
            else:
                problem(answer, 403, "scope")


def test_nothing_but_the_token_itself_is_let_in(service: Service, tokens: dict[Scope, str], blends: Producer) -> None:
    good = tokens[Scope.ADMIN]
    assert service.http.get("/v1/jobs", headers=bearer(good)).status_code == 200
    name, secret = good.split("_", 2)[1:]
    other = tokens[Scope.READ].split("_", 2)[2]
    forged = ["x", good[:-1], good + "x", f"blendq_{name}_{other}", f"blendq_nobody_{secret}", f"{good} {good}"]
    for token in [*forged, f"blendq_{name}_" + "é" * 43]:
        answer = service.http.get("/v1/jobs", headers=[(b"Authorization", f"Bearer {token}".encode())])
        problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
    problem(service.http.get("/v1/jobs", headers={"Authorization": f"Basic {good}"}), 401, "unauthorized")
    blends.tokens.revoke("admin")
    problem(service.http.get("/v1/jobs", headers=bearer(good)), 401, "unauthorized")


def test_a_token_is_kept_as_a_digest_and_shown_once(call: Any, stack: Settings) -> None:
    """I8: whoever reads Redis, or the list, learns no token."""
    made = call("token", "create", "shop", "--scope", "read", "--json").json["token"]
    try:
        assert call("token", "create", "shop").code == 2
        assert call("token", "create", "a b").code == 2
        assert [(one["name"], one["scope"]) for one in call("token", "list", "--json").json] == [("shop", "read")]
        assert made not in call("token", "list").out
        with connect(stack.redis_address()) as client:
            kept: Any = client.hget("blendq:tokens", "shop")
        assert made.rpartition("_")[2] not in kept.decode()
    finally:
        assert call("token", "revoke", "shop").code == 0
    assert call("token", "revoke", "shop").code == 2


def test_without_a_token_this_machine_is_let_in_and_no_page_in_its_browser(service: Service) -> None:
    assert "no token exists, so every program of this machine" in service.log.read_text()
    assert service.http.get("/v1/jobs").status_code == 200
    port = service.url.rpartition(":")[2]
    for host in ("evil.test", f"evil.test:{port}", "127.0.0.1.evil.test", "["):  # DNS that was bent to this machine
        problem(service.http.get("/v1/jobs", headers={"Host": host}), 403, "origin")
    assert service.http.get("/v1/jobs", headers={"Host": f"localhost:{port}"}).status_code == 200
    for origin in ("https://evil.test", "null", "http://127.0.0.1:1", "http://["):
        problem(service.http.post("/v1/campaigns/x/pause", headers={"Origin": origin}), 403, "origin")


def test_it_does_not_start_where_others_reach_it_and_no_token_exists(stack: Settings, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = start(stack, log, tmp_path / "url", BLENDQ_SERVICE_HOST="0.0.0.0")
    assert process.wait(LEAVE_SECONDS) == 2
    assert "blendq token create" in log.read_text()


def test_where_others_reach_it_a_token_is_asked_for_even_if_the_last_one_goes(
    stack: Settings, tmp_path: Path, blends: Producer
) -> None:
    token = blends.tokens.create("last", Scope.READ)
    with serving(stack, tmp_path, BLENDQ_SERVICE_HOST="0.0.0.0") as service:
        url = service.url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{url}/v1/jobs", headers=bearer(token)).status_code == 200
        assert blends.tokens.revoke("last")
        problem(httpx.get(f"{url}/v1/jobs"), 401, "unauthorized")


def test_each_token_may_ask_so_often(stack: Settings, tmp_path: Path, tokens: dict[Scope, str]) -> None:
    with serving(stack, tmp_path, BLENDQ_SERVICE_REQUESTS_PER_SECOND="0.01") as service:
        assert service.http.get("/v1/jobs", headers=bearer(tokens[Scope.READ])).status_code == 200
        problem(service.http.get("/v1/jobs", headers=bearer(tokens[Scope.READ])), 429, "rate")
        assert service.http.get("/v1/jobs", headers=bearer(tokens[Scope.WRITE])).status_code == 200
        assert service.http.get("/readyz").status_code == 200


def test_so_many_are_answered_at_once(stack: Settings, tmp_path: Path) -> None:
    with serving(stack, tmp_path, BLENDQ_SERVICE_REQUESTS="1") as service, contextlib.ExitStack() as open_ones:

        def endless() -> Iterator[bytes]:
            """A body that is being sent until somebody else was refused."""
            yield b"{"
            wait_for(lambda: service.http.get("/v1/jobs").status_code == 503, lambda: "nobody is refused")
            yield b"}"

        other = open_ones.enter_context(httpx.Client(base_url=service.url, timeout=60))
        answer = other.post("/v1/jobs", content=endless(), headers={"Content-Type": "application/json"})
        problem(answer, 422, "invalid_request")
        assert service.http.get("/v1/jobs").status_code == 200


def test_what_is_told_while_redis_is_away_or_has_lost_its_records(server_binary: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    with Ownership(settings.data_dir) as owner, contextlib.ExitStack() as exits:
        server = exits.enter_context(EmbeddedServer(settings, owner))
        service = exits.enter_context(serving(settings, tmp_path))
        body = service.job()
        assert service.http.post("/v1/jobs", json=body).status_code == 202
        server.stop()
        for method, path in (("POST", "/v1/jobs"), ("GET", "/v1/jobs"), ("GET", "/readyz"), ("GET", "/metrics")):
            problem(service.http.request(method, path, json=body), 503, "store_unavailable")
        assert service.http.get("/livez").status_code == 200
        for file in (settings.data_dir / "redis").rglob("*.*"):
            file.unlink()
        exits.enter_context(EmbeddedServer(settings, owner))
        problem(service.http.post("/v1/jobs", json=body), 503, "epoch_lost")
        problem(service.http.get("/readyz"), 503, "epoch_lost")


# Campaigns and health ----------------------------------------------------------------------------------------------


def test_campaigns_are_looked_at_and_ordered(service: Service) -> None:
    for name in ("one", "two", "two"):
        service.enqueue(campaign=name)
    first = service.http.get("/v1/campaigns", params={"limit": 1}).json()
    second = service.http.get("/v1/campaigns", params={"after": first["next"]}).json()
    assert [one["name"] for page in (first, second) for one in page["data"]] == ["one", "two"]
    assert (first["has_more"], second["has_more"], second["next"]) == (True, False, None)
    two = "/v1/campaigns/two"
    assert service.http.post(f"{two}/pause", params={"why": "lunch"}).json()["pause"]["message"] == "lunch"
    assert service.http.patch(f"{two}/plan", json={"max_submissions": 7}).json()["plan"]["max_submissions"] == 7
    assert service.http.post(f"{two}/resume").json()["pause"] is None
    assert service.http.get(two).json()["plan"] == {"weight": 1.0, "max_submissions": 7, "stop_after_failures": None}
    assert service.http.post(f"{two}/cancel").json() == {"changed": {"cancelled": 2}, "unchanged": 0}
    assert service.http.post(f"{two}/retry", params={"status": "cancelled"}).json()["changed"] == {"waiting": 2}
    problem(service.http.post(f"{two}/retry", params={"status": "waiting"}), 422, "usage")
    problem(service.http.patch(f"{two}/plan", json={"colour": "red"}), 422, "invalid_request")
    problem(service.http.patch(f"{two}/plan", json={"weight": -1}), 422, "usage")
    problem(service.http.get("/v1/campaigns", params={"after": "nobody"}), 422, "usage")
    for path in ("", "/pause", "/cancel"):
        method = "POST" if path else "GET"
        problem(service.http.request(method, f"/v1/campaigns/nobody{path}"), 404, "campaign_not_found")


def test_metrics_tell_the_tally(service: Service, blends: Producer) -> None:
    service.enqueue(campaign="counted")
    lines = service.http.get("/metrics").text.splitlines()
    told = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert told['blendq_jobs{status="waiting"}'] == str(blends.store.counts(None)["waiting"]) != "0"
    assert (told["blendq_paused"], told["blendq_resubmissions"]) == ("0", "0")
    there = [told[f'blendq_{name}{{upstream="default"}}'] for name in ("slots", "slots_held", "working")]
    assert there == ["3", "0", "0"]
    blends.store.circuit.pause("quota", "empty", 60)
    assert "blendq_paused 1" in service.http.get("/metrics").text
    blends.store.circuit.resume()

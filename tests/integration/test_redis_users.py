"""ops/redis-users.acl: each part does its work as its own user of Redis, and asks for nothing that it may not."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from kombu import Queue
from PIL import Image

from jobs.epoch import Epoch
from jobs.job import Status
from jobs.keys import BROKER_PREFIX, Keys
from jobs.queue import make_app
from jobs.request import BlendRequest
from jobs.schedule import Schedule
from jobs.server import connect
from jobs.settings import Settings
from jobs.slots.plan import Plan
from jobs.telling.changes import BEGINNING
from ops.doctor import examine
from ops.findings import Level
from ops.health_worker import worker_health
from producer import Producer
from producer.campaign import summaries
from producer.scheduler import Scheduler
from producer.tokens import Scope
from producer.upstream import reports, resume, upstream_names
from tests.integration.endpoint import open_endpoint
from tests.integration.redis_users import (
    ADMIN,
    GuardedServer,
    guarded_server,
)
from tests.integration.sandboxes import Sandbox
from tests.integration.workbench import Workbench, open_workbench, wait_for
from worker.dispatch import dispatch

SECRET = "the-secret-of-these-tests"
PATIENCE_SECONDS = 90.0
ANY_PORT = {"BLENDQ_SERVICE_PORT": "0"}


@dataclass
class Stack:
    """Every part as a process, each with its own user of Redis, as in docker-compose.yml."""

    server: GuardedServer
    folder: Path
    api: str
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    receiver: str = ""

    def settings(self, user: str) -> Settings:
        return Settings(data_dir=self.folder / "data", redis_url=self.server.url(user))

    def start(self, part: str, *command: str, **settings: str) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith("BLENDQ_")}
        env |= {"BLENDQ_REDIS_URL": self.server.url(part), "BLENDQ_DATA_DIR": str(self.folder / "data")}
        env |= {"BLENDQ_HOOK_SECRET": SECRET, **settings}
        with (self.folder / f"{part}.log").open("ab") as log:
            self.processes[part] = subprocess.Popen([sys.executable, "-m", *command], env=env, stdout=log, stderr=log)

    def start_worker(self) -> None:
        # A job goes to the first that has room; the keys of "default" are the others.
        upstreams = [{"name": name, "url": self.api, "key": "any"} for name in ("spare", "default")]
        api = {"BLENDQ_UPSTREAMS": json.dumps(upstreams), "BLENDQ_PUBLIC_URL": self.receiver}
        api["BLENDQ_ALLOWED_NETWORKS"] = "127.0.0.0/8"  # the webhooks of these tests
        self.start("worker", "ops.cli", "worker", **api, BLENDQ_PAUSE_SECONDS="2", BLENDQ_BACKOFF_BASE_SECONDS="0.1")

    def leave(self, part: str) -> int:
        process = self.processes.pop(part)
        process.send_signal(signal.SIGTERM)
        return process.wait(PATIENCE_SECONDS)

    def end(self) -> None:
        """The tests are over: whoever does not leave soon is ended by force."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def announced(self, part: str) -> str:
        """What a part wrote into its file once it listened."""
        file = self.folder / f"{part}.url"
        self.until(file.exists, part)
        return file.read_text(encoding="utf-8")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        logs = sorted(self.folder.glob("*.log"))
        wait_for(condition, lambda: f"{what}: " + "\n".join(log.read_text()[-2000:] for log in logs), PATIENCE_SECONDS)

    def start_flower(self) -> httpx.Client:
        socket = self.folder / "flower.sock"
        self.start("flower", "celery", "-A", "ops.flower", "flower", f"--unix-socket={socket}", FLOWER_BASIC_AUTH="a:b")
        self.until(socket.exists, "flower listens")
        return httpx.Client(
            base_url="http://flower", transport=httpx.HTTPTransport(uds=str(socket)), auth=("a", "b"), timeout=60
        )


@pytest.fixture(scope="module")
def stack(server_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    sandbox_options = ("--personality", "plus", "--speed", "20")
    with guarded_server(server_binary) as server, Sandbox(folder, *sandbox_options) as sandbox:
        made = Stack(server, folder, sandbox.url)
        try:
            listen = {"BLENDQ_RECEIVER_PORT": "0"}
            made.start("receiver", "ops.cli", "receiver", "--announce-file", str(folder / "receiver.url"), **listen)
            made.receiver = made.announced("receiver")
            made.start_worker()
            made.start("beat", "ops.cli", "beat")
            yield made
        finally:
            made.end()


def request(folder: Path, *seeds: int) -> BlendRequest:
    names = []
    for seed in seeds:
        file = io.BytesIO()
        Image.new("RGB", (16, 16), (seed, 255 - seed, 7 * seed % 256)).save(file, "PNG")
        path = folder / f"{seed}.png"
        path.write_bytes(file.getvalue())
        names.append(str(path))
    return BlendRequest(images=names)


def test_a_job_lives_its_whole_life(stack: Stack, tmp_path: Path) -> None:
    with Producer(stack.settings("producer")) as blends:
        job = blends.enqueue(request(tmp_path, 1, 2))
        finished = blends.wait(job, PATIENCE_SECONDS)
        assert finished.status is Status.SUCCEEDED
        assert any("callback" in str(entry.detail) for entry in blends.store.history(job.id)), "it came by the receiver"
        assert summaries(blends.store)[0].name == "default"
        assert blends.enqueue(job.request, campaign="reusing", reuse=True).reused_from == job.id
        assert len(list(blends.store.campaign_jobs("default"))) == 1
    assert stack.server.denied() == []


def test_webhooks_are_told_and_looked_after(stack: Stack, tmp_path: Path) -> None:
    settings = stack.settings("producer")
    with open_endpoint() as endpoint, Producer(settings) as blends:
        webhooks = blends.store.webhooks
        made = webhooks.add(endpoint.url)
        webhooks.rotate(made.id)
        webhooks.test(made.id)
        endpoint.will_answer(500)
        finished = blends.wait(blends.enqueue(request(tmp_path, 9, 10), campaign="told"), PATIENCE_SECONDS)
        assert finished.status is Status.SUCCEEDED
        assert blends.campaign("told").pause()
        stack.until(lambda: len(set(endpoint.ids)) == 4, "each is told")
        assert set(endpoint.types) == {"webhook.test", "job.succeeded", "campaign.finished", "campaign.paused"}
        stack.until(lambda: sum(one.status == 200 for one in webhooks.deliveries(made.id)) == 4, "each is recorded")
        webhooks.replay(next(one.id for one in endpoint.received if one.json["type"] == "job.succeeded"))
        assert webhooks.replay_since(blends.store.now() - timedelta(hours=1)) >= 3
        stack.until(lambda: len(endpoint.ids) > 5, "they are told again")
        endpoint.will_answer(*[410] * 5)
        webhooks.test(made.id)
        stack.until(lambda: webhooks.get(made.id).disabled is not None, "it wants no more")
        assert webhooks.enable(made.id).disabled is None
        webhooks.remove(made.id)
        assert blends.store.changes(BEGINNING)
        assert blends.store.changes(blends.store.newest_change(), block_seconds=0.01) == []
    assert stack.server.denied() == []


def test_a_job_is_cancelled_and_tried_again_and_submitting_resumes(stack: Stack, tmp_path: Path) -> None:
    settings = stack.settings("producer")
    with Producer(settings) as blends, httpx.Client(base_url=stack.api) as api:
        api.post("/sandbox/faults", json={"refuse_key": True}).raise_for_status()
        job = blends.enqueue(request(tmp_path, 3, 4), idempotency_key="order-17")
        stack.until(lambda: bool(blends.store.circuit.read(["spare"])["spare"].pause), "submitting pauses")
        assert blends.cancel(job).after.status is Status.CANCELLED
        assert blends.retry(job).changed
        api.post("/sandbox/faults", json={"refuse_key": False}).raise_for_status()
        resume(blends.store, upstream_names(blends.store, settings))
        assert blends.wait(job, PATIENCE_SECONDS).status is Status.SUCCEEDED
        running = blends.enqueue(request(tmp_path, 5, 6))
        stack.until(lambda: blends.get(running).submissions > 0, "it is at the API")
        assert blends.cancel(running).changed
        assert blends.wait(running, PATIENCE_SECONDS).status.final  # cancelled, or the picture was faster
        orders = blends.campaign("default")
        assert orders.pause()
        held = blends.enqueue(request(tmp_path, 7, 8))
        orders.change_plan(weight=2.0, max_submissions=1000)
        assert orders.cancel().total > 0
        assert orders.resume()
        assert orders.retry((Status.CANCELLED,)).total > 0
        stack.until(lambda: blends.get(held).status is Status.SUCCEEDED, "it went on")
        assert "spare" in {one.name for one in reports(blends.store, settings)}
        assert orders.purge() > 0
        manifest = tmp_path / "pairs.csv"
        manifest.write_text(f"image1,image2\n{','.join(request(tmp_path, 9, 10).images)}\n")
        schedules = blends.schedules
        schedules.put(Schedule.parse(name="often", manifest=str(manifest), every_seconds=1.0, overlap="queue"))
        stack.until(lambda: Scheduler(blends, schedules).step() and bool(schedules.runs("often")), "it ran")
        assert [one.name for one in schedules.all()] == ["often"]
        schedules.remove("often")
        with connect(settings.redis_address()) as client:
            Epoch(client, Keys(), settings.data_dir).accept()  # the folder of all parts
    assert stack.server.denied() == []


def test_a_worker_is_asked_for_its_health_and_told_to_leave(stack: Stack) -> None:
    stack.until(lambda: "ready" in (stack.folder / "worker.log").read_text(), "the worker is ready")
    assert "answers" in worker_health(stack.settings("worker"))
    assert stack.leave("worker") == 0
    stack.start_worker()
    assert stack.server.denied() == []


def test_the_http_api_does_all_that_it_can(stack: Stack, tmp_path: Path) -> None:
    with Producer(stack.settings("producer")) as blends:
        token = blends.tokens.create("test", Scope.ADMIN)
        assert [one.name for one in blends.tokens.all()] == ["test"]
        stack.start("producer", "ops.cli", "api", "--announce-file", str(stack.folder / "producer.url"), **ANY_PORT)
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=stack.announced("producer"), headers=headers, timeout=60) as http:
            bodies = [Path(name).read_bytes() for name in request(tmp_path, 9, 10).images]
            images = [http.put("/v1/images", content=body).json()["digest"] for body in bodies]
            job = http.post("/v1/jobs", json={"images": images}).raise_for_status().json()
            with http.stream("GET", job["events_url"]) as events:
                assert any('"status": "succeeded"' in line for line in events.iter_lines())
            line = b'{"images": ["%s", "%s"]}' % (images[0].encode(), images[0].encode())
            answer = http.post("/v1/jobs:batch", content=line, headers={"Content-Type": "application/x-ndjson"})
            assert answer.raise_for_status().json()["id"] != job["id"]
            assert http.delete(job["cancel_url"]).raise_for_status().json()["changed"] is False
            for path in ("/v1/jobs", job["status_url"], "/v1/campaigns", "/metrics", "/readyz"):
                http.get(path).raise_for_status()
            http.post("/v1/campaigns/default/pause").raise_for_status()
            http.post("/v1/campaigns/default/resume").raise_for_status()
        assert stack.leave("producer") == 0
        assert blends.tokens.revoke("test")
    assert stack.server.denied() == []


def test_flower_sees_the_workers_and_their_queues(stack: Stack) -> None:
    with stack.start_flower() as flower:
        seen: dict[str, Any] = {}

        def sees_a_worker() -> bool:
            seen.update(flower.get("/api/workers", params={"refresh": 1}).json())
            return any(worker.get("stats") and worker.get("active_queues") for worker in seen.values())

        stack.until(sees_a_worker, "flower asks the worker")
        queues = flower.get("/api/queues/length").json()["active_queues"]
        assert {queue["name"] for queue in queues} == {"control", "submit", "collect"}
        assert flower.get("/broker").status_code == 200
        # Events: ticks come every second.
        stack.until(lambda: len(flower.get("/api/tasks", params={"limit": 1}).json()) == 1, "flower hears events")
    assert stack.leave("flower") == 0
    assert stack.server.denied() == []


@pytest.fixture
def bench(guarded: GuardedServer, tmp_path: Path) -> Iterator[Workbench]:
    """A worker whose steps are called by hand, on an API that does wrong when told to."""
    with Sandbox(tmp_path, "--personality", "plus", "--speed", "100", "--task-seconds", "5", "10") as sandbox:
        made = open_workbench(guarded.url("worker"), Keys(), tmp_path / "blendq", sandbox.url, pause_seconds=0.2)
        yield made
        made.sandbox.close()
        made.context.close()


@pytest.mark.parametrize(
    "fault",
    ["quota", "refuse_key", "no_account", "queue_full", "rate_limit", "banned", "lose_answer", "fail_tasks", "late_22"],
)
def test_a_worker_gets_through_every_trouble(bench: Workbench, guarded: GuardedServer, fault: str) -> None:
    bench.faults(**{fault: 1 if fault in ("lose_answer", "fail_tasks") else True})
    bench.add()
    for _ in range(8):  # often enough for the API's refusals to pause submitting
        bench.submit()
    assert bench.store.get("job_1").commits > 0 or fault == "refuse_key"
    bench.faults(**{fault: 0 if fault in ("lose_answer", "fail_tasks") else False})
    bench.work_until(Status.SUCCEEDED, Status.FAILED)
    assert guarded.denied() == []


def test_a_worker_minds_a_budget(bench: Workbench, guarded: GuardedServer) -> None:
    bench.store.turns.keep_plan("default", Plan(max_submissions=1))
    bench.add("job_1")
    bench.add("job_2")
    bench.work_until(Status.SUCCEEDED)
    wait_for(
        lambda: dispatch(bench.context) == 0 and bench.store.turns.paused("default") is not None, lambda: "no pause"
    )
    assert guarded.denied() == []


def test_what_a_dead_worker_had_taken_is_put_back(guarded: GuardedServer) -> None:
    """By kombu, once its time is up; here there is no time."""
    app = make_app(Settings(redis_url=guarded.url("worker")))
    app.conf.broker_transport_options |= {"visibility_timeout": -1}
    taken: list[Any] = []
    with guarded.client(ADMIN) as admin, app, app.connection() as connection:
        admin.lpush(BROKER_PREFIX + "submit", MESSAGE)
        with connection.Consumer([Queue("submit")], on_message=taken.append) as consumer:
            connection.drain_events(timeout=PATIENCE_SECONDS)
            assert (len(taken), admin.hlen(BROKER_PREFIX + "unacked")) == (1, 1)
            consumer.cancel()
            consumer.channel.qos.restore_visible()
            assert (admin.llen(BROKER_PREFIX + "submit"), admin.hlen(BROKER_PREFIX + "unacked")) == (1, 0)
    assert guarded.denied() == []


MESSAGE = (
    '{"body": "e30=", "content-encoding": "utf-8", "content-type": "application/json", "headers": {}, "properties": '
    '{"delivery_tag": "tag-1", "delivery_info": {"exchange": "", "routing_key": "submit"}, "body_encoding": "base64"}}'
)


def test_doctor_says_what_its_user_may_not_ask(guarded: GuardedServer, tmp_path: Path) -> None:
    found = {one.name: one for one in examine(Settings(data_dir=tmp_path, redis_url=guarded.url("producer")))}
    assert found["submitting"].level is Level.OK
    for name in ("redis version", "redis durability", "workers"):
        assert (found[name].level, found[name].says.startswith("not told to this user")) == (Level.OK, True)
    assert guarded.denied()  # it tries; and the log begins anew for the other tests

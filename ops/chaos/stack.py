"""The real stack of a fault run: its processes, and the relays between them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from jobs.settings import PREFIX, Settings
from ops.chaos.disk import SmallDisk, limited_files
from ops.chaos.endpoint import Endpoint
from ops.chaos.options import Options
from ops.chaos.part import READY_SUFFIX, RUN_FILE
from ops.chaos.produce import DONE_FILE
from ops.chaos.quick import REAL_SETTINGS, SETTINGS
from ops.chaos.relay import Relay, RelayThread
from ops.chaos.supervised import Part
from ops.chaos.watch import API_FOLDERS
from ops.embedded import EmbeddedServer
from ops.ownership import Ownership

CORES, QUEUE = 4, 10
# More slots than cores, so that some are told 22; with an even seed none are set, and they are found.
SLOTS = 10
# A task of 30 to 90 s takes 0.15 to 0.45 s.
SPEED = 200.0
API_KEY = "chaos-key"
# The parts that play the APIs, and what the settings call them. Faults are those of the first.
API_PARTS = API_FOLDERS
UPSTREAMS = ("default", "spare")
READY_SECONDS = 30.0
POLL_SECONDS = 0.02
CONTROL_SECONDS = 2.0
# Drawing, carrying and checking pictures of full size was half of what a run cost. They still take several reads.
SHRINK = 4


class Stack:
    """Everything that runs. As a context manager it starts all, and leaves nothing behind.

    Args:
        options: of the run.
        folder: of this run alone; everything it writes is there.
        disks: the folders of the data that are to be full at times, so that each gets a disk of its own.
        webhooks: whether the producer has an endpoint that is told what becomes of its jobs.
    """

    def __init__(self, options: Options, folder: Path, disks: Collection[str] = (), *, webhooks: bool = False) -> None:
        self.options = options
        self.folder = folder
        self._disks: dict[str, SmallDisk | None] = dict.fromkeys(sorted(disks))
        self.endpoint: Endpoint | None = None
        self._webhooks = webhooks
        self._apis = API_PARTS[: options.apis]
        self.died_alone: list[str] = []
        self.would_not_leave: list[str] = []
        self.leaving_seconds: list[float] = []  # how long whoever was told to leave took
        self.parts: dict[str, Part] = {}
        self.relays: dict[str, Relay] = {}
        self._exits = ExitStack()
        # One for all calls: a new one reads the certificates anew. The API is killed at times: no connection is kept.
        nothing_kept = httpx.Limits(max_keepalive_connections=0)
        self._http = self._exits.enter_context(httpx.Client(timeout=CONTROL_SECONDS, limits=nothing_kept))

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._exits.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in self.parts.values():
            part.expected = True
            part.send(signal.SIGCONT)
        self._exits.close()

    # Starting --------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        local = Settings.load({}, data_dir=self.folder / "data")
        for name in self._disks:
            self._mount(name)
        self.owner = self._exits.enter_context(Ownership(local.data_dir))
        self.server = self._exits.enter_context(EmbeddedServer(local, self.owner))
        self.address = local.redis_address()
        thread = RelayThread()
        self._exits.callback(thread.close)
        if self._webhooks:
            self._open_endpoint(thread)
        for name in ("redis", "redis-receiver", "redis-producer", "hooks", *self._apis):
            self.relays[name] = Relay(thread, *([local.socket_path()] if name.startswith("redis") else []))
            self._exits.callback(self.relays[name].close)
        self.settings = self._settings(local)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        (self.folder / RUN_FILE).write_text(
            json.dumps({"broken": self.options.broken, "real_times": self.options.real_times}), encoding="utf-8"
        )
        self._start_parts()

    def _open_endpoint(self, thread: RelayThread) -> None:
        self.endpoint = self._exits.enter_context(closing(Endpoint()))
        relay = self.relays["webhooks"] = self._exits.enter_context(closing(Relay(thread, self.endpoint.address)))
        self.endpoint.register(self.address, relay.port)

    def _mount(self, name: str) -> None:
        disk = self._disks[name] = SmallDisk.mounted(self.folder / "disks" / name)
        if disk is not None:
            self._exits.callback(disk.close)
            (self.folder / "data").mkdir(mode=0o700, exist_ok=True)
            (self.folder / "data" / name).symlink_to(self.folder / "disks" / name)

    def _settings(self, local: Settings) -> Settings:
        ports = {name: relay.port for name, relay in self.relays.items()}
        given = {
            "data_dir": local.data_dir,
            "redis_url": f"redis://127.0.0.1:{ports['redis']}/0",
            "public_url": f"http://127.0.0.1:{ports['hooks']}",
            "hook_secret": "chaos-secret-chaos-secret",
            "receiver_port": 0,
            "worker_threads": 8,
            "on_queued": self.options.on_queued,
        } | ({"allowed_networks": "127.0.0.0/8"} if self._webhooks else {})
        slots = SLOTS if self.options.seed % 2 else None
        urls = [f"http://127.0.0.1:{ports[name]}" for name in self._apis]
        if len(urls) == 1:
            given |= {"api_url": urls[0], "api_key": API_KEY, "slots": slots}
        else:
            named = zip(UPSTREAMS, urls, strict=True)
            given["upstreams"] = [{"name": name, "url": url, "key": API_KEY, "slots": slots} for name, url in named]
        return Settings.load({}, **(given | known(REAL_SETTINGS if self.options.real_times else SETTINGS)))

    def _start_parts(self) -> None:
        for name in self._apis:
            self._add(name, [sys.executable, "-m", "ops.sandbox", *self._sandbox_flags(name)])
        for number in range(2):
            self._add(f"receiver-{number}", self._own("receiver", f"receiver-{number}"))
        for number in range(self.options.workers):
            self._add(f"worker-{number}", self._own("worker", f"worker-{number}"))
        self._add("beat", self._own("beat"))
        self.lead_relays(READY_SECONDS)
        self._add("producer", self._own("producer"))

    def _own(self, role: str, name: str = "") -> list[str]:
        return [sys.executable, "-m", "ops.chaos.part", role, str(self.folder), *([name] if name else [])]

    def _sandbox_flags(self, name: str) -> list[str]:
        return [
            *("--port", "0", "--personality", self.options.personality, "--speed", str(SPEED / self.options.pace)),
            *("--core-size", str(CORES), "--queue-size", str(QUEUE), "--api-key", API_KEY, "--shrink", str(SHRINK)),
            *("--seed", f"{self.options.seed}{self._apis.index(name) or ''}", "--data-dir", str(self.folder / name)),
            *("--announce-file", str(self._announcement(name))),
            *("--public-url", f"http://127.0.0.1:{self.relays[name].port}"),
        ]

    def _add(self, name: str, command: Sequence[str]) -> None:
        part = Part(name, command, self._spawn)
        self.parts[name] = part
        part.start()

    def _spawn(self, part: Part) -> subprocess.Popen[bytes]:
        self._announcement(part.name).unlink(missing_ok=True)
        self._ready_file(part).unlink(missing_ok=True)
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        with (logs / f"{part.name}.log").open("ab") as log:
            return self.owner.reaper.spawn(part.command, output=log, env=self.environment | self._own_settings(part))

    def _own_settings(self, part: Part) -> dict[str, str]:
        link = {"receiver": "redis-receiver", "producer": "redis-producer"}.get(part.name.split("-")[0], "redis")
        url = f"redis://127.0.0.1:{self.relays[link].port}/0"
        return self.settings.model_copy(update={"redis_url": url}).to_environment()

    def _announcement(self, name: str) -> Path:
        return self.folder / f"{name}.url"

    def _ready_file(self, part: Part) -> Path:
        return self.folder / f"{part.name}{READY_SUFFIX}"

    # Running ---------------------------------------------------------------------------------------------------

    def workers(self) -> list[Part]:
        return [part for name, part in self.parts.items() if name.startswith("worker-")]

    def wait_until_ready(self, worker: Part, seconds: float) -> bool:
        """Whether the worker takes work; waits at most `seconds` for that."""
        deadline = time.monotonic() + seconds
        while not (ready := self._ready_file(worker).exists()) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return ready

    def lead_relays(self, seconds: float) -> None:
        """Lead the relays to where the API and the receivers listen now; wait at most `seconds` for the addresses."""
        names = (*self._apis, "receiver-0", "receiver-1")
        deadline = time.monotonic() + seconds
        while not all(self._announcement(name).exists() for name in names) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        for name in self._apis:
            self.relays[name].lead_to(*self._found([name]))
        self.relays["hooks"].lead_to(*self._found(["receiver-0", "receiver-1"]))

    def _found(self, names: Sequence[str]) -> list[tuple[str, int]]:
        texts = [self._announcement(name).read_text() for name in names if self._announcement(name).exists()]
        return [("127.0.0.1", port) for text in texts if (port := urlsplit(text).port)]

    def full_disk(self, name: str) -> AbstractContextManager[None]:
        """A folder of the data has no room; without a disk of its own, whoever writes there may write no more."""
        disk = self._disks[name]
        if disk is not None:
            return disk.full()
        if name == "redis":
            return limited_files([self.server.pid])
        return limited_files([part.pid for part in (*self.workers(), self.parts["producer"])])

    def supervise(self) -> None:
        """Start again what has died, as a supervisor would. Called a few times a second."""
        for part in self.parts.values():
            if part.done or part.alive or not part.lock.acquire(blocking=False):
                continue
            try:
                self._start_again(part)
            finally:
                part.lock.release()
        if self.server.pid and not self.server.alive and not self.server_held:
            self.died_alone.append("redis")
            self.server.start()
        self.lead_relays(0.0)

    server_held = False

    def _start_again(self, part: Part) -> None:
        code = part.ended_with
        if part.name == "producer" and code == 0 and (self.folder / DONE_FILE).exists():
            part.done = True
            return
        if not part.expected and code != -signal.SIGKILL:
            self.died_alone.append(f"{part.name} ended with {code}")
        part.start()

    def shown(self, task_ids: Sequence[str]) -> dict[str, Any]:
        """The tasks as the APIs show them now, around the relays; of those that they know."""
        asked = {"ids": list(task_ids)}
        found = [self._ask("POST", "mj/task/list-by-condition", asked, api=name) for name in self._apis]
        return {task["id"]: task for tasks in found for task in tasks or ()}

    def control(self, path: str, fields: dict[str, Any] | None = None, method: str = "POST") -> Any:
        """Tell the (first) simulated API what to do wrong; around the relay. None when it does not listen now."""
        return self._ask(method, f"sandbox/{path}", fields)

    def _ask(self, method: str, path: str, fields: dict[str, Any] | None, api: str = API_PARTS[0]) -> Any:
        found = self._found([api])
        if not found:
            return None
        url, headers = f"http://127.0.0.1:{found[0][1]}/{path}", {"mj-api-secret": API_KEY}
        try:
            return self._http.request(method, url, json=fields, headers=headers).json()
        except (httpx.HTTPError, ValueError):
            return None


def known(settings: dict[str, object]) -> dict[str, object]:
    """Those that this version of the product has."""
    return {name: value for name, value in settings.items() if name in Settings.model_fields}

"""Theirs: each peer's processes, with a server of its own on the very settings of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from jobs.server import connect
from jobs.settings import Settings
from ops.bench import parts
from ops.bench.contest import Blend
from ops.bench.ports import free_port, wait_for_listener
from ops.child import Child
from ops.embedded import EmbeddedServer
from ops.ownership import Ownership

STOP_SECONDS = 5.0
ALWAYS, EVERYSEC = "always", "everysec"
_PEERS = "ops.bench.peers."


class Peer:
    """One of `ops.bench.peers` that has workers, a receiver and a server.

    Args:
        name: as the report calls it.
        module: of `ops.bench.peers`.
        folder: for all that it keeps.
        api_url: whom it submits to.
        concurrency: submissions and downloads at once.
        appendfsync: of its server; ours is always on `always`.
    """

    held = ("worker", "receiver")

    def __init__(
        self, name: str, module: str, folder: Path, api_url: str, concurrency: int, appendfsync: str = ALWAYS
    ) -> None:
        self.name = name
        self._module = module
        self._settings = Settings(data_dir=folder)
        self._appendfsync = appendfsync
        self._concurrency = concurrency
        self._port = free_port()
        self._env = _environment(folder, api_url, self._port, PEER_REDIS=self._settings.redis_address())
        self._exits = ExitStack()

    def start(self) -> None:
        owner = self._exits.enter_context(Ownership(self._settings.data_dir))
        self._server = self._exits.enter_context(EmbeddedServer(self._settings, owner))
        self._redis = connect(self._settings.redis_address())
        self._redis.config_set("appendfsync", self._appendfsync)
        self._children = {
            "worker": self._child(owner, "worker", str(self._concurrency)),
            "receiver": self._child(owner, "receiver", str(self._port)),
        }
        wait_for_listener(self._port)  # a callback that nobody hears is lost for good

    def _child(self, owner: Ownership, part: str, number: str) -> Child:
        command = [sys.executable, "-m", _PEERS + self._module, part, number]
        child = Child(part, command, self._env, folder=self._settings.data_dir, reaper=owner.reaper)
        child.start()
        return child

    def close(self) -> None:
        parts.let_go(chain(*self.pids.values()))  # what is stopped hears nobody
        for child in self._children.values():
            child.ask_to_end()
        for child in self._children.values():
            child.end(STOP_SECONDS)
        self._redis.close()
        self._exits.close()

    @property
    def pids(self) -> Mapping[str, Sequence[int]]:
        found = {name: child.pid for name, child in self._children.items()} | {"redis": self._server.pid}
        return {name: [pid] for name, pid in found.items() if pid}

    def enqueue(self, blends: Sequence[Blend], name: str) -> None:
        self._redis.set("finished", 0)
        _put_in(self._module, self._env, _lines(blends, name))

    def finished(self, name: str) -> int:  # noqa: ARG002  (one repetition at a time)
        return int(self._redis.get("finished") or 0)


class Script:
    """The bare asyncio script: one process, no server."""

    name = "asyncio script"
    held = ("worker",)

    def __init__(self, folder: Path, api_url: str, concurrency: int) -> None:
        self._folder = folder
        self._concurrency = concurrency
        self._port = free_port()
        self._env = _environment(folder, api_url, self._port)
        self._exits = ExitStack()
        self._waiting = 0

    def start(self) -> None:
        owner = self._exits.enter_context(Ownership(self._folder))
        arguments = [str(self._concurrency), str(self._port), str(self._folder)]
        command = [sys.executable, "-m", "ops.bench.peers.plain_asyncio", *arguments]
        self._child = Child("script", command, self._env, folder=self._folder, reaper=owner.reaper)
        self._child.start()
        wait_for_listener(self._port)

    def close(self) -> None:
        parts.let_go(chain(*self.pids.values()))
        self._child.ask_to_end()
        self._child.end(STOP_SECONDS)
        self._exits.close()

    @property
    def pids(self) -> Mapping[str, Sequence[int]]:
        return {"worker": [self._child.pid] if self._child.pid else []}

    def enqueue(self, blends: Sequence[Blend], name: str) -> None:
        part = self._folder / f"{name}.part"
        part.write_text(_lines(blends, name))
        part.rename(part.with_suffix(".jobs"))
        self._waiting = len(blends)

    def finished(self, name: str) -> int:
        return self._waiting if (self._folder / f"{name}.done").exists() else 0


def enqueue(module: str, folder: Path, blends: Sequence[Blend]) -> dict[str, float]:
    """Only put jobs in, on a server of their own, while nobody takes them.

    Args:
        module: of `ops.bench.peers`, one with `put_in`.
        folder: for its data.
        blends: the jobs; the first only connects.

    Returns:
        the row's figures.
    """
    settings = Settings(data_dir=folder)
    with Ownership(folder) as owner, EmbeddedServer(settings, owner) as server:
        env = _environment(folder, "", 0, PEER_REDIS=settings.redis_address())
        before = parts.use(server.pid or 0).cpu_seconds
        took = json.loads(_put_in(module, env, _lines(blends, "job")))
        server_seconds = parts.use(server.pid or 0).cpu_seconds - before
    cpu_ms, server_ms = (seconds * 1000 / took["jobs"] for seconds in (took["cpu_seconds"], server_seconds))
    return enqueue_figures(took["jobs"] / took["seconds"], cpu_ms, server_ms)


def enqueue_figures(jobs_per_second: float, cpu_ms: float, server_ms: float) -> dict[str, float]:
    """Of one who enqueues: its own processor time and the server's, for each job."""
    return {"jobs/s": jobs_per_second, "CPU ms a job": cpu_ms + server_ms, "own ms": cpu_ms, "redis ms": server_ms}


def _put_in(module: str, env: Mapping[str, str], jobs: str) -> str:
    command = [sys.executable, "-m", _PEERS + module, "enqueue"]
    return subprocess.run(command, input=jobs, text=True, env=env, check=True, stdout=subprocess.PIPE).stdout  # noqa: S603


def _environment(folder: Path, api_url: str, port: int, **others: str) -> dict[str, str]:
    out = folder / "out"
    out.mkdir(parents=True, exist_ok=True)
    ours = {"PEER_API": api_url, "PEER_HOOKS": f"http://127.0.0.1:{port}", "PEER_OUT": str(out)}
    return {**os.environ, **ours, **others}


def _lines(blends: Sequence[Blend], name: str) -> str:
    jobs = ([f"{name}-{number}", list(map(str, blend))] for number, blend in enumerate(blends))
    return "".join(json.dumps(job) + "\n" for job in jobs)

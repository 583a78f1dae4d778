"""Ours: blendq's local stack as `blendq up` starts it, pointed at the stand-in API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from jobs.job import Status
from jobs.request import BlendRequest
from jobs.settings import Settings
from ops.bench import parts
from ops.bench.contest import Blend
from ops.bench.ports import free_port
from ops.local import LocalStack
from producer.client import Producer

# Past what anybody reaches here: it is not slots that are measured.
SLOTS = 64


class Ours:
    name = "blendq"
    held = ("worker", "beat", "receiver")

    def __init__(self, folder: Path, api_url: str, concurrency: int, *, workers: int = 1, slots: int = SLOTS) -> None:
        port = free_port()
        self._stack = LocalStack(
            Settings(
                data_dir=folder,
                api_url=api_url,
                api_key="bench",
                public_url=f"http://127.0.0.1:{port}",
                receiver_port=port,
                slots=slots,
                workers=workers,
                worker_threads=max(1, concurrency // workers),
                allowed_networks="127.0.0.0/8",
            )
        )

    def start(self) -> None:
        self._stack.__enter__()
        self._stack.start_server()
        self._stack.start_rest()
        self.producer = Producer(self._stack.settings)

    def close(self) -> None:
        parts.let_go(chain(*self.pids.values()))  # what is stopped hears nobody
        self.producer.close()
        self._stack.__exit__(None, None, None)

    @property
    def pids(self) -> Mapping[str, Sequence[int]]:
        return self._stack.parts

    def enqueue(self, blends: Sequence[Blend], name: str) -> None:
        requests = (BlendRequest(images=tuple(map(str, blend))) for blend in blends)
        for _ in self.producer.enqueue_many(requests, campaign=name):
            pass

    def finished(self, name: str) -> int:
        return self.producer.store.counts(name).get(Status.SUCCEEDED, 0)

"""An endpoint of the producer's own webhooks: keeps what it is told, and refuses it while a fault says so."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from jobs.policy import Policy
from jobs.server import connect
from jobs.store import JobStore

JOIN_SECONDS = 5.0


class Endpoint:
    """`told` has, for each `webhook-id`, every body that came under it; `taken` the ids that were answered with 204."""

    def __init__(self) -> None:
        self.told: dict[str, set[bytes]] = defaultdict(set)
        self.taken: set[str] = set()
        self.refusals = 0
        self.refusing = threading.Event()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="endpoint", daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._server.server_port

    def register(self, redis_address: str, port: int) -> None:
        """For all that happens from now on, as if it listened on this port: that of a relay."""
        store = JobStore(connect(redis_address), Policy())
        store.webhooks.add(f"http://127.0.0.1:{port}/told")
        store.close()

    def jobs(self) -> dict[str, list[str]]:
        """The ids under which each job was told of, of notices that were taken."""
        found: dict[str, list[str]] = defaultdict(list)
        with self._lock:
            for notice, bodies in self.told.items():
                event: Any = json.loads(next(iter(bodies)))
                if notice in self.taken and event["type"].startswith("job."):
                    found[event["data"]["id"]].append(notice)
        return found

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(JOIN_SECONDS)

    def _take(self, notice: str, body: bytes) -> HTTPStatus:
        with self._lock:
            self.told[notice].add(body)
            if self.refusing.is_set():
                self.refusals += 1
                return HTTPStatus.INTERNAL_SERVER_ERROR
            self.taken.add(notice)
            return HTTPStatus.NO_CONTENT

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(endpoint._take(self.headers["webhook-id"], body))
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing: the judge reads what was kept."""

        return Handler

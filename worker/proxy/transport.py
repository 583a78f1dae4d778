"""The wire under the client: an httpx transport whose every wait ends at the deadline of the whole call.

httpx's timeouts are per read and per write, so a server that sends a byte now and then can hold a thread for hours.
Here the call's `Deadline` bounds each of them too; only the name lookup has limits of its own, the resolver's.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic
from typing import Any

import httpx

from jobs.net.http1 import Answer, request_head
from jobs.net.line import Limit, Line, Waits, first_connected, tls_context

# Names of request extensions.
DEADLINE = "blendq.deadline"
FRESH = "blendq.fresh"

_DEFAULT_PORTS = {"http": 80, "https": 443}
PLACE_SECONDS = 5.0
Origin = tuple[str, str, int]
Place = tuple[int, Any]  # a family of addresses, and one of them as `socket` has it


class Deadline:
    """The end of a phase of a call, on this machine's monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._end = monotonic() + seconds

    def restart(self, seconds: float) -> None:
        self._end = monotonic() + seconds

    def limit(self, seconds: float) -> float:
        """`seconds`, or what is left."""
        return min(seconds, self._end - monotonic())


class _Body(httpx.SyncByteStream):
    """An answer's body; told when it is read, or no longer wanted."""

    def __init__(self, answer: Answer, done: Callable[[Answer], None]) -> None:
        self._answer = answer
        self._done = done

    def __iter__(self) -> Iterator[bytes]:
        return self._answer.parts()

    def close(self) -> None:
        self._done(self._answer)


class _Kept:
    """Lines that wait for another request."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._lines: list[tuple[float, Origin, Line]] = []

    def take(self, origin: Origin) -> Line | None:
        """The one that was put in last and is still open; those that are not are closed."""
        while (found := self._pop(origin)) is not None:
            until, line = found
            if monotonic() < until and not line.is_readable():
                return line
            line.close()
        return None

    def _pop(self, origin: Origin) -> tuple[float, Line] | None:
        with self._lock:
            for index in range(len(self._lines) - 1, -1, -1):
                if self._lines[index][1] == origin:
                    until, _, line = self._lines.pop(index)
                    return until, line
        return None

    def put(self, origin: Origin, line: Line) -> None:
        with self._lock:
            self._lines.append((monotonic() + self._seconds, origin, line))

    def close(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, []
        for _, _, line in lines:
            line.close()


class _Places:
    """Where hosts are, remembered for a moment: a campaign asks for the same one all the time."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[float, list[Place]]] = {}

    def find(self, host: str, port: int) -> list[Place]:
        """
        Raises:
            httpx.ConnectError: there is no such host.
        """
        until, places = self._known.get((host, port), (0.0, []))
        if monotonic() >= until:
            places = self._look_up(host, port)
            self._known[host, port] = monotonic() + PLACE_SECONDS, places
        return places

    def forget(self, host: str, port: int) -> None:
        """Nobody is there: the next call looks anew."""
        self._known.pop((host, port), None)

    def _look_up(self, host: str, port: int) -> list[Place]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError as error:  # a name that cannot be asked for, such as one with an empty label
            raise httpx.ConnectError(f"not a host name: {host}") from error
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        return [(family, address) for family, _, _, _, address in found]


class BoundedTransport(httpx.BaseTransport):
    """Connections bounded by the `Deadline` that each request brings along as an extension.

    No retries, no redirects, no cookies, no proxies, nothing from the environment. A request with the extension FRESH
    gets a connection of its own: a kept one may be closed by the server at the very moment the request goes out, and
    after the last byte that would leave a submission in doubt.

    Args:
        waits: the bounds of single waits.
        max_connections: at once, for each of the two kinds.
        keepalive_seconds: how long an idle connection is kept.
    """

    def __init__(self, waits: Waits, max_connections: int, keepalive_seconds: float) -> None:
        self._waits = waits
        self._tls = tls_context()
        self._kept = _Kept(keepalive_seconds)
        self._places = _Places()
        self._room = {fresh: threading.Semaphore(max_connections) for fresh in (True, False)}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it, and read the answer's head; its body is the response's `stream`, to be closed.

        Raises:
            httpx.TransportError: no answer came. Whatever the request's own body raises comes out as it is.
        """
        limit: Limit = request.extensions[DEADLINE].limit
        fresh = bool(request.extensions.get(FRESH))
        room = self._room[fresh]
        if not room.acquire(timeout=max(0.0, limit(self._waits.connect))):
            raise httpx.PoolTimeout("")
        try:
            origin = _origin(request.url)
            line = self._line(origin, limit, fresh)
            try:
                whole = _send(line, request)
                answer = Answer(line)
            except BaseException:
                line.close()
                raise
        except BaseException:
            room.release()
            raise
        done = partial(self._done, origin, line, fresh, whole)
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer, done))

    def _line(self, origin: Origin, limit: Limit, fresh: bool) -> Line:
        kept = None if fresh else self._kept.take(origin)
        if kept is not None:
            kept.limit = limit
            return kept
        scheme, host, port = origin
        line = self._connected(host, port, limit)
        if scheme == "https":
            line.start_tls(self._tls, host)
        return line

    def _connected(self, host: str, port: int, limit: Limit) -> Line:
        places = self._places.find(host, port)
        try:
            return first_connected(places, lambda place: Line(*place, self._waits, limit))
        except (httpx.ConnectError, httpx.ConnectTimeout):
            self._places.forget(host, port)
            raise

    def _done(self, origin: Origin, line: Line, fresh: bool, whole: bool, answer: Answer) -> None:
        if whole and not fresh and answer.leaves_line_open:
            self._kept.put(origin, line)
        else:
            line.close()
        self._room[fresh].release()

    def close(self) -> None:
        self._kept.close()


def _origin(url: httpx.URL) -> Origin:
    return url.scheme, url.raw_host.decode("ascii"), url.port or _DEFAULT_PORTS[url.scheme]


def _send(line: Line, request: httpx.Request) -> bool:
    """In as few writes as its body has pieces: the head goes with the first. Tells whether all of it was taken."""
    assert isinstance(request.stream, httpx.SyncByteStream)  # noqa: S101  (for mypy)
    head = request_head(request.method, request.url.raw_path, request.headers.raw)
    for piece in request.stream:
        try:
            line.send(head + piece)
        except httpx.WriteError:
            return False  # the other side may have answered already, as whoever refuses does: what it said is read
        head = b""
    return True

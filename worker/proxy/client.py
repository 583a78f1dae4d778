"""ProxyClient: every call that blendq makes to the API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from jobs.errors import UsageError
from jobs.net.line import Waits
from jobs.settings import Settings
from jobs.upstreams import ApiAuth, Upstream
from worker.proxy import lookups
from worker.proxy.address import checked_url, headers, path_segment
from worker.proxy.answers import NotSent, Refused, Unsure, Verdict, decide
from worker.proxy.body import Body
from worker.proxy.exchange import BodyStopped, Failure, Upload, exchange
from worker.proxy.lookups import Cancelled, CannotTell, Found, NoSuchCall, NotCancelled, Unknown
from worker.proxy.redaction import Redaction
from worker.proxy.reply import RawAnswer
from worker.proxy.task import TaskView
from worker.proxy.transport import DEADLINE, FRESH, BoundedTransport, Deadline

MAX_ANSWER_BYTES = 256 << 10
MAX_LIST_BYTES = 8 << 20
MAX_IDS_PER_CALL = 100
KEEPALIVE_SECONDS = 5.0

_QUERY_PAGE_SIZE = 20
_ACCOUNTS_PAGE_SIZE = 1000

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The bounds of one call, in seconds.

    `connect` bounds the handshakes (each, per address); `write` one write that makes no headway; `upload` everything
    until the last byte may go out; `answer` everything after it, and a whole lookup.
    """

    connect: float = 10.0
    write: float = 15.0
    answer: float = 60.0
    upload: float = 300.0


class ProxyClient:
    """Talks to one API. Safe to share between threads; close it when done.

    Follows no redirects, retries nothing, reads no environment. Every submission goes out on a connection of its own.

    Args:
        base_url: where `/mj/submit/blend` lives; a mode may be part of it (`…/mj-fast`).
        key: the API key; None to send none.
        auth: the header that carries it; never both, as one family reads `Authorization` first, and raw.
        timeouts: in seconds.
        nested_account_filter: what to build a `BlendBody` with for this API.
        max_connections: at once, for submissions and for lookups each.

    Raises:
        SettingsError: the address or the key cannot be sent.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None,
        auth: ApiAuth = ApiAuth.MJ_API_SECRET,
        timeouts: Timeouts | None = None,
        nested_account_filter: bool = False,
        max_connections: int = 16,
    ) -> None:
        self.nested_account_filter = nested_account_filter
        self._base_url = checked_url(base_url)
        self._redaction = Redaction(key or "")
        self._timeouts = timeouts or Timeouts()
        self._urls: dict[str, httpx.URL] = {}
        self._headers = httpx.Headers(headers(self._base_url, key, auth))
        waits = Waits(connect=self._timeouts.connect, read=self._timeouts.answer, write=self._timeouts.write)
        self._transport = BoundedTransport(waits, max_connections, KEEPALIVE_SECONDS)

    @classmethod
    def of(cls, upstream: Upstream, settings: Settings) -> Self:
        """The client for one of the APIs that the settings describe.

        Raises:
            SettingsError: the address or the key cannot be sent.
        """
        return cls(
            upstream.url,
            upstream.key.get_secret_value() if upstream.key else None,
            upstream.auth,
            Timeouts(
                connect=settings.connect_timeout_seconds,
                write=settings.write_timeout_seconds,
                answer=settings.answer_timeout_seconds,
                upload=settings.upload_timeout_seconds,
            ),
            upstream.account_filter,
            settings.worker_threads,
        )

    def __repr__(self) -> str:
        return f"ProxyClient({self._base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def submit(
        self, body: Body, commit: Callable[[], None], progress: Callable[[], None] | None = None
    ) -> Verdict | NotSent:
        """Submit once (`POST /mj/submit/…`). Takes at most the upload's plus the answer's time limit.

        Args:
            body: what to send.
            commit: called when only the last byte is left; the byte goes out when it returns. Once it was called
                and returned, only an answer that proves refusal gives anything but an acceptance or `Unsure`.
            progress: called between chunks, often; may raise to abort.

        Returns:
            The verdict; NotSent when the submission failed before the commit, so that it cannot have been accepted.

        Raises:
            PictureMissing: a picture is not what was announced.
            PictureUnreadable: a picture cannot be read now.
            Exception: whatever `commit` or `progress` raised, unchanged. In all of these the body stayed incomplete.
        """
        deadline = Deadline(self._timeouts.upload)
        upload = Upload(body, commit, progress, deadline, self._timeouts.answer)
        request = httpx.Request(
            "POST",
            self._url(body.path),
            headers=[
                *self._headers.raw,
                (b"Content-Type", b"application/json"),
                (b"Content-Length", str(body.content_length).encode()),
                (b"Connection", b"close"),
            ],
            stream=upload,
            extensions={DEADLINE: deadline, FRESH: True},
        )
        try:
            outcome = exchange(self._transport, request, MAX_ANSWER_BYTES)
        except BodyStopped:
            outcome = Failure("the body was stopped")
        finally:
            upload.close()
        if upload.error is not None:
            raise upload.error
        return self._redaction.apply(_judge(outcome, upload.committed))

    def fetch(self, task_id: str) -> Found | Unknown | CannotTell:
        """One task (`GET /mj/task/{id}/fetch`). Unknown only when the API says that it has no such task."""
        read = partial(lookups.read_fetch, task_id=task_id)
        return self._ask(read, "GET", f"/mj/task/{path_segment(task_id)}/fetch")

    def list_by_ids(self, ids: Sequence[str]) -> dict[str, TaskView] | CannotTell | NoSuchCall:
        """Several tasks at once (`POST /mj/task/list-by-condition`), by id; ids that are left out are unknown there.

        Raises:
            UsageError: more than 100 ids.
        """
        if len(ids) > MAX_IDS_PER_CALL:
            raise UsageError(f"at most {MAX_IDS_PER_CALL} ids a call, not {len(ids)}")
        if not ids:
            return {}
        read = partial(lookups.read_by_ids, ids=ids)
        return self._ask(read, "POST", "/mj/task/list-by-condition", {"ids": list(ids)}, MAX_LIST_BYTES)

    def find_by_state(self, state_prefix: str) -> Found | Unknown | CannotTell | NoSuchCall:
        """The task whose `state` is `state_prefix`, or begins with it and a space.

        Asks `POST /mj/task/query`, and where that does not exist `GET /mj/task/list`. Unknown only from the former:
        the list shows the newest tasks only.
        """
        query = {"pageNumber": 0, "pageSize": _QUERY_PAGE_SIZE, "sort": "id,desc", "state": state_prefix}
        read = partial(lookups.read_query, state=state_prefix)
        found = self._ask(read, "POST", "/mj/task/query", query, MAX_LIST_BYTES)
        if not isinstance(found, NoSuchCall):
            return found
        in_list = partial(lookups.read_list, state=state_prefix)
        return self._ask(in_list, "GET", "/mj/task/list", max_bytes=MAX_LIST_BYTES)

    def count_cores(self) -> int | CannotTell | NoSuchCall:
        """How many tasks its accounts can work on at once.

        Asks `POST /mj/account/query`, and where that does not exist `GET /mj/account/list`. Most keys may not.
        """
        query = {"pageNumber": 0, "pageSize": _ACCOUNTS_PAGE_SIZE, "enable": True}
        found = self._ask(lookups.read_cores, "POST", "/mj/account/query", query, MAX_LIST_BYTES)
        if not isinstance(found, NoSuchCall):
            return found
        return self._ask(lookups.read_cores, "GET", "/mj/account/list", max_bytes=MAX_LIST_BYTES)

    def cancel(self, task_id: str) -> Cancelled | NotCancelled | CannotTell | NoSuchCall:
        """Cancel a task (`POST /mj/task/{id}/cancel`)."""
        return self._ask(lookups.read_cancel, "POST", f"/mj/task/{path_segment(task_id)}/cancel")

    def image_seed(self, task_id: str) -> str | None:
        """The seed of a finished task's picture (`GET /mj/task/{id}/image-seed`); None when the API does not tell."""
        found = self._ask(lookups.read_seed, "GET", f"/mj/task/{path_segment(task_id)}/image-seed")
        return None if isinstance(found, CannotTell) else found

    def _url(self, path: str) -> httpx.URL:
        """Of a call whose path has no id in it: there are few, and to take an address apart takes a while."""
        if (url := self._urls.get(path)) is None:
            url = self._urls[path] = httpx.URL(self._base_url + path)
        return url

    def _ask(
        self,
        read: Callable[[RawAnswer], _Read],
        method: str,
        path: str,
        fields: dict[str, Any] | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> _Read | CannotTell:
        """One lookup, on a kept connection, all within the answer's time limit."""
        extensions = {DEADLINE: Deadline(self._timeouts.answer)}
        request = httpx.Request(
            method, self._base_url + path, headers=self._headers, json=fields, extensions=extensions
        )
        answer = exchange(self._transport, request, max_bytes)
        outcome = CannotTell(answer.message, answered=False) if isinstance(answer, Failure) else read(answer)
        return self._redaction.apply(outcome)


def _judge(outcome: RawAnswer | Failure, committed: bool) -> Verdict | NotSent:
    if isinstance(outcome, Failure):
        if committed:
            return Unsure(f"no answer after the whole request was sent: {outcome.message}")
        return NotSent(f"the request was not sent to its end: {outcome.message}")
    if committed:
        return decide(outcome)
    # The body was not complete, so nothing can have been accepted: even a lost body leaves the status to go by.
    verdict = decide(replace(outcome, body=b"", truncated=False) if outcome.truncated else outcome)
    if isinstance(verdict, Refused):
        return verdict
    return NotSent(f"the API answered HTTP {outcome.status} before the request was complete")

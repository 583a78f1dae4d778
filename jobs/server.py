"""The client for Redis: its timeouts, its errors in our words, and its values in our types."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import chain, repeat
from typing import Any, TypeVar
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ClusterDownError, MasterDownError, NoPermissionError, NoScriptError, TryAgainError
from redis.retry import Retry

from jobs.errors import StoreForbidden, StoreUnavailable
from jobs.redis_client import RedisClient, watched_by_the_kernel

SOCKET_TIMEOUT_SECONDS = 5.0
# A lost reply is asked for again; three times cover a restart of the connection.
WRITE_TRIES = 3
WRITE_RETRY_SECONDS = 0.1
# So long a reading of the server's clock does.
CLOCK_READ_SECONDS = 2.0
# Error codes of a server that is well, but must not or cannot write at this moment (redis.io, "Redis serialization
# protocol", and the server's own messages). All of them pass.
REFUSALS = ("OOM", "READONLY", "NOREPLICAS", "MISCONF", "MASTERDOWN", "LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN")
# redis-py has classes for some of these only, and takes the code off the words of those.
_REFUSAL_OF: Mapping[type[redis.ResponseError], str] = {
    redis.OutOfMemoryError: "OOM",
    redis.ReadOnlyError: "READONLY",
    MasterDownError: "MASTERDOWN",  # it is a ClusterDownError as well
    ClusterDownError: "CLUSTERDOWN",
    TryAgainError: "TRYAGAIN",
}


def connect(url: str) -> RedisClient:
    """A client for the store: explicit timeouts, and no retry of its own, since a repeated script may have run."""
    client = RedisClient.from_url(
        url,
        redis_connect_func=watched_by_the_kernel,
        socket_timeout=SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
        health_check_interval=15,
        retry=Retry(NoBackoff(), 0),
        max_connections=512,
        **({} if url.startswith("unix:") else {"socket_keepalive": True}),
    )
    assert isinstance(client, RedisClient)  # noqa: S101  (from_url is typed as if it made the base class)
    return client


def without_password(url: str) -> str:
    """A server's address as it may be shown."""
    parts = urlsplit(url)
    return url if "@" not in parts.netloc else url.replace(parts.netloc, parts.netloc.rpartition("@")[2])


class unavailable:  # noqa: N801  (it is used as a statement)
    """Redis' own errors, told in one of ours. An error of a script is a defect of ours and goes through.

    It stands around every call of the server, where a generator (`contextmanager`) takes four times as long.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None and (ours := _in_our_words(error)) is not None:
            raise ours from error


def _in_our_words(error: BaseException) -> StoreUnavailable | StoreForbidden | None:
    match error:
        case redis.AuthenticationError():
            return StoreForbidden("Redis refuses the user or the password; set BLENDQ_REDIS_URL to those it knows")
        case NoPermissionError():
            return StoreForbidden(
                f"Redis forbids this to its user ({error}): start it again with the users of this version "
                "(ops/redis-users.acl), and give each part the one that is made for it"
            )
        case redis.ConnectionError() | redis.TimeoutError():
            return StoreUnavailable(f"Redis does not answer ({type(error).__name__}); is it running?")
        case redis.ResponseError() if code := refusal(error):
            return StoreUnavailable(f"Redis takes no writes now ({code}); it should soon, or see its log")
    return None


T = TypeVar("T")


def repeatable(call: Callable[[], T]) -> T:
    """Call a script that may be repeated; a reply that was lost is asked for again."""
    for last in (False,) * (WRITE_TRIES - 1) + (True,):
        try:
            with unavailable():
                return call()
        except StoreUnavailable:
            if last:
                raise
            time.sleep(WRITE_RETRY_SECONDS)
    raise AssertionError("unreachable")  # pragma: no cover


def begun(script: Any, keys: Sequence[str], args: Sequence[Any]) -> Callable[[], Any]:
    """Send the call of a script that may be repeated; the server works on it while the caller does something else.

    Args:
        script: of a client from `connect`.
        keys, args: the script's.

    Returns:
        gives the answer, and raises as `repeatable` does. It must be called, once: it gives the connection back.
    """
    again: Callable[[], Any] = lambda: script(keys=keys, args=args)  # noqa: E731
    try:
        first = script.begin(keys, args)
    except redis.RedisError:
        first = again
    answers = chain([first], repeat(again))

    def answer() -> Any:
        try:
            return next(answers)()
        except NoScriptError:  # the server has been started again
            return next(answers)()

    return lambda: repeatable(answer)


def refusal(error: redis.ResponseError) -> str | None:
    """Why the server refuses to write for the moment; None when that is not what is wrong."""
    if (code := next((code for kind, code in _REFUSAL_OF.items() if isinstance(error, kind)), None)) is not None:
        return code
    words = str(error)
    return next((code for code in REFUSALS if code in words), None)


def lua(*names: str) -> str:
    """A script; of several files, the earlier ones define what the last one uses."""
    return "".join(files("jobs").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8") for name in names)


def server_time(client: redis.Redis) -> datetime:
    """The server's clock, the only one that counts."""
    with unavailable():
        seconds, micros = client.time()
    return to_time(seconds, micros)


class ServerClock:
    """The server's clock since it was last read, by this machine's monotonic one: a round trip behind, never ahead."""

    def __init__(self) -> None:
        self._read: tuple[datetime, float] | None = None

    def set(self, now: datetime) -> None:
        """The server's time has just come."""
        self._read = now, time.monotonic()

    def now(self) -> datetime | None:
        """None when it was not read for a while: clocks drift, and the server may have become another."""
        if self._read is None:
            return None
        then, at = self._read
        passed = time.monotonic() - at
        return then + timedelta(seconds=passed) if passed < CLOCK_READ_SECONDS else None


def to_ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def from_ms(ms: float) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def to_time(seconds: Any, micros: Any) -> datetime:
    return datetime.fromtimestamp(int(seconds) + int(micros) / 1_000_000, UTC)


def to_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def to_text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

"""The client for Redis: its timeouts, its errors in our words, and its values in our types."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs.errors import StoreUnavailable

SOCKET_TIMEOUT_SECONDS = 5.0


def connect(url: str) -> redis.Redis:
    """A client for the store: explicit timeouts, and no retry of its own, since a repeated script may have run."""
    return redis.Redis.from_url(
        url,
        socket_timeout=SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
        health_check_interval=15,
        retry=Retry(NoBackoff(), 0),
        max_connections=512,
        **({} if url.startswith("unix:") else {"socket_keepalive": True}),
    )


@contextmanager
def unavailable() -> Iterator[None]:
    """Redis' own errors, told in one of ours. A ResponseError of a script is a defect of ours and goes through."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError, redis.OutOfMemoryError) as error:
        raise StoreUnavailable(
            f"Redis does not answer ({type(error).__name__}); is it running and not full?"
        ) from error


def lua(name: str) -> str:
    return files("jobs").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


def server_time(client: redis.Redis) -> datetime:
    """The server's clock, the only one that counts."""
    with unavailable():
        seconds, micros = client.time()
    return to_time(seconds, micros)


def to_ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def to_time(seconds: Any, micros: Any) -> datetime:
    return datetime.fromtimestamp(int(seconds) + int(micros) / 1_000_000, UTC)


def to_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def to_text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

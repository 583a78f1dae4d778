"""Kinds of settings: what a value must look like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, SecretStr

from jobs.net.addresses import parse_networks
from jobs.net.signature import secret_bytes

_LIKE_A_WEB_ADDRESS = "must look like https://host or https://host/path"
_LIKE_REDIS = "must look like redis://user:password@host:6379/0, with %40 for an @ in the password"


def _parts(value: str, like: str) -> SplitResult:
    """Python's own words quote the address, which may have a password in it; ours do not."""
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018  (raises ValueError when it is not a number)
    except ValueError:
        raise ValueError(like) from None
    return parts


def _http_url(value: str) -> str:
    parts = _parts(value, _LIKE_A_WEB_ADDRESS)
    if parts.scheme not in ("http", "https") or not parts.hostname or any(c.isspace() for c in value):
        raise ValueError(_LIKE_A_WEB_ADDRESS)
    if parts.username or parts.password:
        raise ValueError("must not carry a user or password; use the setting for the key")
    if parts.query or parts.fragment:
        raise ValueError("must not carry a query or a fragment")
    return value.rstrip("/")


def _redis_url(value: str) -> str:
    if _parts(value, _LIKE_REDIS).scheme not in ("redis", "rediss", "unix"):
        raise ValueError("must start with redis://, rediss:// or unix://")
    if not _is_understood(value):  # what the client says of it may quote the password
        raise ValueError(_LIKE_REDIS)
    return value


def _is_understood(redis_url: str) -> bool:
    """Whether the client can do something with it, and takes it as it is meant: no word is a database to it."""
    import redis  # noqa: PLC0415  (slow to load, and most settings have none)

    database = "" if redis_url.startswith("unix:") else urlsplit(redis_url).path.strip("/")
    try:
        redis.ConnectionPool.from_url(redis_url).make_connection()  # connects to nothing yet
    except (TypeError, ValueError):
        return False
    return not database or database.isdecimal()


def _networks(value: str) -> str:
    return ",".join(map(str, parse_networks(value)))


def _webhook_secret(value: SecretStr) -> SecretStr:
    secret_bytes(value.get_secret_value())
    return value


def _absolute(value: Path) -> Path:
    return value.expanduser().absolute()


Folder = Annotated[Path, AfterValidator(_absolute)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
RedisUrl = Annotated[str, AfterValidator(_redis_url)]
Networks = Annotated[str, AfterValidator(_networks)]
WebhookSecret = Annotated[SecretStr, AfterValidator(_webhook_secret)]
PerSecond = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=30 * 86400, allow_inf_nan=False)]

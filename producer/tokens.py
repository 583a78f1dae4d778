"""Tokens: who may use the HTTP API, and for what.

A token looks like `blendq_NAME_SECRET`. The secret is 256 random bits, so its plain SHA-256 is all that has to be kept:
nothing shorter than guessing all of them finds a secret for it. Whoever reads Redis learns no token.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import redis

from jobs.errors import UsageError
from jobs.keys import Keys
from jobs.server import server_time, to_bytes, to_text, unavailable

_PREFIX = "blendq"
_SECRET_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9.-]{1,64}")
_SHAPE = re.compile(rf"{_PREFIX}_([A-Za-z0-9.-]{{1,64}})_([A-Za-z0-9_-]{{43}})")


class Scope(StrEnum):
    """What a token allows; each scope includes the ones before it.

    READ   look at jobs, campaigns, pictures and events.
    WRITE  enqueue, upload, cancel and retry jobs.
    ADMIN  orders to whole campaigns.
    """

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def allows(self, wanted: Scope) -> bool:
        order = list(Scope)
        return order.index(wanted) <= order.index(self)


@dataclass(frozen=True)
class Token:
    """What is kept of a token."""

    name: str
    scope: Scope
    created_at: datetime
    digest: str

    def to_json(self) -> str:
        return json.dumps({"scope": self.scope, "created_at": self.created_at.isoformat(), "sha256": self.digest})

    @classmethod
    def from_json(cls, name: str, doc: bytes) -> Token:
        fields = json.loads(doc)
        return cls(name, Scope(fields["scope"]), datetime.fromisoformat(fields["created_at"]), fields["sha256"])


class Tokens:
    """The tokens of one blendq. Every method raises StoreUnavailable when Redis does not answer.

    Args:
        client: from `connect`.
        keys: the same as the store's.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._key = keys.tokens

    def create(self, name: str, scope: Scope) -> str:
        """Make a token. It cannot be shown again.

        Args:
            name: whose it is: 1 to 64 letters, digits, '-' or '.'.
            scope: what it allows.

        Raises:
            UsageError: no such name, or there is a token of this name.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(f"token {name[:64]!r}: a name is 1 to 64 letters, digits, '-' or '.'")
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        token = Token(name, scope, server_time(self._redis), _digest(secret))
        with unavailable():
            new = self._redis.hsetnx(self._key, name, token.to_json())
        if not new:
            raise UsageError(f"there is a token {name!r} already; choose another name, or `blendq token revoke {name}`")
        return f"{_PREFIX}_{name}_{secret}"

    def all(self) -> list[Token]:
        """Every token, by name."""
        with unavailable():
            found: Any = self._redis.hgetall(self._key)
        return [Token.from_json(name, to_bytes(doc)) for name, doc in sorted((to_text(n), d) for n, d in found.items())]

    def any(self) -> bool:
        """Whether there is any token."""
        with unavailable():
            count: Any = self._redis.hlen(self._key)
        return bool(count)

    def revoke(self, name: str) -> bool:
        """From now on the token allows nothing. Returns whether there was one of this name."""
        with unavailable():
            return bool(self._redis.hdel(self._key, name))

    def find(self, presented: str) -> Token | None:
        """The token that somebody presents; None when it is not one of ours."""
        shape = _SHAPE.fullmatch(presented)
        if shape is None:
            return None
        name, secret = shape.groups()
        with unavailable():
            doc: Any = self._redis.hget(self._key, name)
        if doc is None:
            return None
        token = Token.from_json(name, to_bytes(doc))
        return token if hmac.compare_digest(token.digest, _digest(secret)) else None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

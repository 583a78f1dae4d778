"""Hooks: the callback address of each attempt, and the proof that a call to it is no forgery.

The API signs nothing, so the address itself is the secret: `…/hooks/{job}/{attempt}/{mac}`, with an HMAC over job and
attempt. `state` carries the same token, for servers that strip the address but echo the state.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

from jobs.files import kept
from jobs.request import MAX_STATE_CHARACTERS
from jobs.settings import Settings

_SECRET_FILE = "hook-secret"  # noqa: S105  (a file's name)
_PURPOSE = b"blendq callback "


class Hooks:
    """Makes and checks callback addresses.

    Args:
        secrets: the first one signs, all are accepted (while the secret is being changed).
        public_url: where the API reaches the receiver; None when it cannot.
    """

    def __init__(self, secrets: Sequence[bytes], public_url: str | None) -> None:
        if not secrets:
            raise ValueError("at least one secret is needed")
        self._macs = tuple(hmac.new(secret, _PURPOSE, hashlib.sha256) for secret in secrets)
        self._public_url = public_url

    @classmethod
    def from_settings(cls, settings: Settings) -> Hooks:
        if settings.hook_secret is None:
            known = [kept(settings.data_dir / _SECRET_FILE, lambda: secrets.token_urlsafe(32)).encode()]
        else:
            known = [settings.hook_secret.get_secret_value().encode()]
        if settings.hook_secret_previous is not None:
            known.append(settings.hook_secret_previous.get_secret_value().encode())
        return cls(known, settings.public_url)

    def token(self, job_id: str, attempt: int) -> str:
        return f"{job_id}/{attempt}/{_mac(self._macs[0], job_id, str(attempt)).decode()}"

    def url(self, job_id: str, attempt: int) -> str | None:
        """The `notifyHook` of an attempt; None where there is no public address."""
        return None if self._public_url is None else f"{self._public_url}/hooks/{self.token(job_id, attempt)}"

    def state(self, job_id: str, attempt: int, own: str | None) -> str:
        """The `state` of an attempt: the token, then the caller's own where it fits the API's 255 characters."""
        token = self.token(job_id, attempt)
        both = f"{token} {own}" if own else token
        return both if len(both) <= MAX_STATE_CHARACTERS else token

    def verify(self, job_id: str, attempt: str, mac: str) -> bool:
        """Whether the address is one of ours. Every secret is tried, so that time tells nothing."""
        given = mac.encode("utf-8", "surrogateescape")
        matches = [hmac.compare_digest(_mac(one, job_id, attempt), given) for one in self._macs]
        return any(matches)


def _mac(begun: hmac.HMAC, job_id: str, attempt: str) -> bytes:
    """On a copy of what every address has in common: `hmac.digest` lets the interpreter's lock go each time, and gets
    it back from a thread that computes only after 5 ms.
    """
    own = begun.copy()
    own.update(f"{job_id}/{attempt}".encode("utf-8", "surrogateescape"))
    return base64.urlsafe_b64encode(own.digest()).rstrip(b"=")

"""Signatures of webhooks, as Standard Webhooks has them (standardwebhooks.com). Pure but for new secrets."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime

_PREFIX = "whsec_"
_NEW_BYTES = 32
_MIN_BYTES, _MAX_BYTES = 24, 64


def new_secret() -> str:
    """`whsec_`, and random bytes in base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_NEW_BYTES)).decode()


def secret_bytes(secret: str) -> bytes:
    """What a secret signs with.

    Raises:
        ValueError: it is none; the text does not show it.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("must be whsec_ and base64") from error
    if not secret.startswith(_PREFIX) or not _MIN_BYTES <= len(key) <= _MAX_BYTES:
        raise ValueError(f"must be whsec_ and {_MIN_BYTES} to {_MAX_BYTES} bytes in base64")
    return key


def signed_headers(secrets: Sequence[str], notice_id: str, at: datetime, body: bytes) -> list[tuple[str, str]]:
    """The three headers that prove where a body comes from.

    Args:
        secrets: each signs, so that a receiver may know any one of them while they are being changed.
        notice_id: the same for every try.
        at: of this try.
        body: as it is sent.
    """
    timestamp = str(int(at.timestamp()))
    signed = f"{notice_id}.{timestamp}.".encode() + body
    macs = (hmac.digest(secret_bytes(secret), signed, hashlib.sha256) for secret in secrets)
    signatures = " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in macs)
    return [("webhook-id", notice_id), ("webhook-timestamp", timestamp), ("webhook-signature", signatures)]

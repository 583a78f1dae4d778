"""What a submission says: the body, read as the real servers read it. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

MAX_STATE_CHARACTERS = 255
MAX_HOOK_CHARACTERS = 2000
DIMENSIONS = ("PORTRAIT", "SQUARE", "LANDSCAPE")
BOT_TYPES = ("MID_JOURNEY", "NIJI_JOURNEY")
MODES = ("RELAX", "FAST", "TURBO")
FILTERS = ("instanceId", "modes", "remix", "remixAutoConsidered")

_DATA_URL = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w=.+-]+)*;base64,")


class Refused(Exception):
    """The server's own answer to a submission that it does not take."""

    def __init__(self, code: int, description: str, properties: Mapping[str, Any] | None = None) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.properties = dict(properties or {})


class Unreadable(Exception):
    """A body that is no JSON object: the web framework in front of the server refuses it."""


@dataclass(frozen=True)
class Blend:
    """A blend that may be accepted. `inputs` are the sha256 digests of `contents`, in order."""

    inputs: tuple[str, ...]
    contents: tuple[bytes, ...] = field(repr=False)
    dimensions: str
    bot_type: str
    filters: dict[str, Any]
    notify_hook: str | None
    state: str | None

    @property
    def content_key(self) -> str:
        """Equal for equal pictures and options, whoever asks: notifyHook and state do not count."""
        told = [self.inputs, self.dimensions, self.bot_type, sorted(self.filters.items())]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    @property
    def options(self) -> dict[str, Any]:
        return {"dimensions": self.dimensions, "botType": self.bot_type} | self.filters

    def stripped(self) -> Blend:
        """What is left of it behind a gateway."""
        return replace(self, notify_hook=None, state=None)


def read_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        Unreadable: it is none.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable from error
    if not isinstance(fields, dict):
        raise Unreadable
    return fields


def read_blend(body: bytes, *, drop_account_filter: bool) -> Blend:
    """Read the body of `POST /mj/submit/blend`.

    Raises:
        Unreadable: it is no JSON object.
        Refused: a field is wrong (code 4).
    """
    fields = read_object(body)
    contents = _pictures(fields.get("base64Array"))
    return Blend(
        inputs=tuple(hashlib.sha256(content).hexdigest() for content in contents),
        contents=contents,
        dimensions=_one_of(fields, "dimensions", DIMENSIONS, "SQUARE"),
        bot_type=_one_of(fields, "botType", BOT_TYPES, "MID_JOURNEY"),
        filters=_filters(fields, drop_account_filter=drop_account_filter),
        notify_hook=limited_text(fields, "notifyHook", MAX_HOOK_CHARACTERS),
        state=limited_text(fields, "state", MAX_STATE_CHARACTERS),
    )


def limited_text(fields: Mapping[str, Any], name: str, limit: int) -> str | None:
    """An optional text field; an empty one counts as absent."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > limit:
        raise Refused(4, f"{name}参数错误")
    return value or None


def _pictures(urls: object) -> tuple[bytes, ...]:
    if not isinstance(urls, list) or not 2 <= len(urls) <= 5:
        raise Refused(4, "base64List参数错误")
    return tuple(_decoded(url) for url in urls)


def _decoded(url: object) -> bytes:
    found = _DATA_URL.match(url) if isinstance(url, str) else None
    if found is None or not isinstance(url, str):
        raise Refused(4, "base64格式错误")
    try:
        content = base64.b64decode(url[found.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(4, "base64格式错误") from error
    if not content:
        raise Refused(4, "base64格式错误")
    return content


def _one_of(fields: Mapping[str, Any], name: str, known: tuple[str, ...], default: str) -> str:
    """Absent means the default; an explicit null overwrites the server's default, and is refused."""
    value = fields.get(name, default)
    if value not in known:
        raise Refused(4, f"{name}参数错误")
    return str(value)


def _filters(fields: Mapping[str, Any], *, drop_account_filter: bool) -> dict[str, Any]:
    """Account filters: flat, as newer servers take them, or inside `accountFilter`, as older ones do."""
    inside = fields.get("accountFilter")
    if inside is not None and not isinstance(inside, dict):
        raise Refused(4, "accountFilter参数错误")
    merged = ({} if drop_account_filter else dict(inside or {})) | {
        name: fields[name] for name in FILTERS if fields.get(name) is not None
    }
    found = {name: merged[name] for name in FILTERS if merged.get(name) not in (None, "", [])}
    _check_filters(found)
    return found


def _check_filters(filters: Mapping[str, Any]) -> None:
    if not isinstance(filters.get("instanceId", ""), str):
        raise Refused(4, "instanceId参数错误")
    modes = filters.get("modes", [])
    if not isinstance(modes, list) or any(mode not in MODES for mode in modes):
        raise Refused(4, "modes参数错误")
    for name in ("remix", "remixAutoConsidered"):
        if not isinstance(filters.get(name, False), bool):
            raise Refused(4, f"{name}参数错误")

"""Upstream: one API that jobs may go to, as the settings have it; and who of several may take a job. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from jobs.doors import DEFAULT, UPSTREAM_NAME
from jobs.errors import InvalidRequest
from jobs.request import Mode
from jobs.setting_kinds import HttpUrl

MAX_UPSTREAMS = 32


InstanceId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,200}$")]


class ApiAuth(StrEnum):
    """The header that carries the API key. `mj-api-secret` is understood by every known server; never both."""

    MJ_API_SECRET = "mj-api-secret"  # noqa: S105  (a header's name)
    BEARER = "bearer"


class Upstream(BaseModel):
    """One API, with its key and what jobs it is for."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(pattern=UPSTREAM_NAME)]
    url: HttpUrl
    key: SecretStr | None = None
    auth: ApiAuth = ApiAuth.MJ_API_SECRET
    account_filter: bool = False
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    modes: Annotated[tuple[Mode, ...], Field(max_length=len(Mode))] = ()
    instances: Annotated[tuple[InstanceId, ...], Field(max_length=1000)] = ()
    slots: Annotated[int | None, Field(ge=1, le=10_000)] = None


def _from_text(value: object) -> object:
    """In the environment the list is JSON. What is wrong with it is said without the text: there are keys in it."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError('must be a list as JSON, such as [{"name": "one", "url": "https://one"}]') from None


def _told_apart(value: tuple[Upstream, ...]) -> tuple[Upstream, ...]:
    names = [one.name for one in value]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two are called {twice[0]}; each needs a name of its own")
    return value


Upstreams = Annotated[
    tuple[Upstream, ...], BeforeValidator(_from_text), AfterValidator(_told_apart), Field(max_length=MAX_UPSTREAMS)
]


def to_json(upstreams: tuple[Upstream, ...]) -> str:
    """The list as it stands in the environment; keys in the clear, so never log it."""
    fields: list[dict[str, Any]] = []
    for one in upstreams:
        plain = one.model_dump(mode="json", exclude_defaults=True, exclude={"key"})
        fields.append(plain | ({"key": one.key.get_secret_value()} if one.key else {}))
    return json.dumps(fields)


def check_named(name: str | None, names: Sequence[str]) -> None:
    """
    Args:
        name: of the upstream that a job is for; None for any.
        names: those that there are; none where only the workers know them.

    Raises:
        InvalidRequest: it is none of them.
    """
    if name is not None and names and name not in names:
        raise InvalidRequest(f"there is no upstream {name!r}, only {', '.join(names)}; name it in BLENDQ_UPSTREAMS")


def single(url: str, key: SecretStr | None, auth: ApiAuth, account_filter: bool, slots: int | None) -> Upstream:
    """The one upstream of settings that have no list."""
    return Upstream(name=DEFAULT, url=url, key=key, auth=auth, account_filter=account_filter, slots=slots)

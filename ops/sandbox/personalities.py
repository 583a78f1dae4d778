"""What each server family does differently, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto


class Call(Enum):
    """A call that some families have and others do not."""

    FETCH = auto()
    LIST_BY_CONDITION = auto()
    LIST_BY_IDS = auto()
    QUERY = auto()
    LIST = auto()
    QUEUE = auto()
    CANCEL = auto()
    IMAGE_SEED = auto()
    ACTION = auto()
    CHANGE = auto()
    ACCOUNT_QUERY = auto()
    ACCOUNT_LIST = auto()


class Auth(Enum):
    """Where a family looks for the key."""

    SECRET = auto()  # mj-api-secret only
    SECRET_OR_BEARER = auto()
    RAW_AUTHORIZATION_FIRST = auto()  # Authorization as it stands, "Bearer " and all; else mj-api-secret
    BEARER_FIRST = auto()


class Manner(Enum):
    """The shape of an error that is not one of the API's own answers."""

    EMPTY = auto()
    TEXT = auto()
    HTML = auto()
    SPRING = auto()
    GATEWAY = auto()


class UnknownTask(Enum):
    """How a family answers a fetch of a task that it does not know."""

    EMPTY_200 = auto()
    NULL_200 = auto()
    NO_CONTENT = auto()
    TASK_NO_FOUND = auto()


class Name(StrEnum):
    OPEN_SOURCE = "open-source"
    PLUS = "plus"
    COMMUNITY = "community"
    GATEWAY = "gateway"
    AGAIN = "again"


@dataclass(frozen=True)
class Personality:
    name: Name
    auth: Auth
    denied: Manner
    not_found: Manner
    unknown_task: UnknownTask
    calls: frozenset[Call]
    list_limit: int | None = None
    integer_results: bool = False
    """Every second task id is answered as a bare integer, as in the reference's own example."""
    null_properties: bool = False
    hides_22: bool = False
    says_again: bool = False
    """22 means "not taken, try again", some times before each 1."""
    strips_options: bool = False
    """notifyHook, state and accountFilter never reach the server behind."""
    empty_time: int | None = None
    empty_text: str | None = None
    first_progress: str = "0%"
    has_buttons: bool = False
    is_community: bool = False
    cancelled_status: str = "CANCEL"


_EVERYWHERE = frozenset({Call.FETCH, Call.LIST_BY_CONDITION})

OPEN_SOURCE = Personality(
    name=Name.OPEN_SOURCE,
    auth=Auth.SECRET,
    denied=Manner.EMPTY,
    not_found=Manner.SPRING,
    unknown_task=UnknownTask.EMPTY_200,
    calls=_EVERYWHERE | {Call.LIST, Call.QUEUE, Call.CHANGE, Call.ACCOUNT_LIST},
)
PLUS = Personality(
    name=Name.PLUS,
    auth=Auth.SECRET_OR_BEARER,
    denied=Manner.SPRING,
    not_found=Manner.SPRING,
    unknown_task=UnknownTask.NULL_200,
    calls=_EVERYWHERE
    | {Call.QUERY, Call.LIST, Call.QUEUE, Call.CANCEL, Call.IMAGE_SEED, Call.ACTION, Call.CHANGE, Call.ACCOUNT_QUERY},
    integer_results=True,
    has_buttons=True,
)
COMMUNITY = Personality(
    name=Name.COMMUNITY,
    auth=Auth.RAW_AUTHORIZATION_FIRST,
    denied=Manner.TEXT,
    not_found=Manner.EMPTY,
    unknown_task=UnknownTask.NO_CONTENT,
    calls=_EVERYWHERE | {Call.LIST_BY_IDS, Call.LIST, Call.CANCEL, Call.IMAGE_SEED, Call.ACTION, Call.CHANGE},
    list_limit=100,
    first_progress="Waiting to start",
    has_buttons=True,
    is_community=True,
    cancelled_status="FAILURE",
)
GATEWAY = Personality(
    name=Name.GATEWAY,
    auth=Auth.BEARER_FIRST,
    denied=Manner.GATEWAY,
    not_found=Manner.GATEWAY,
    unknown_task=UnknownTask.TASK_NO_FOUND,
    calls=_EVERYWHERE | {Call.IMAGE_SEED, Call.ACTION, Call.CHANGE},
    hides_22=True,
    strips_options=True,
    empty_time=0,
    empty_text="",
    has_buttons=True,
)
AGAIN = replace(PLUS, name=Name.AGAIN, denied=Manner.HTML, null_properties=True, says_again=True, hides_22=True)

PERSONALITIES: dict[Name, Personality] = {
    personality.name: personality for personality in (OPEN_SOURCE, PLUS, COMMUNITY, GATEWAY, AGAIN)
}


def key_is_right(auth: Auth, key: str | None, secret: str | None, authorization: str | None) -> bool:
    """Whether a request's headers carry the key; without a key, every request does.

    Args:
        secret: the `mj-api-secret` header.
        authorization: the `Authorization` header.
    """
    if key is None:
        return True
    bearer = (authorization or "").removeprefix("Bearer ") or None
    match auth:
        case Auth.SECRET:
            return secret == key
        case Auth.SECRET_OR_BEARER:
            return key in (secret, bearer)
        case Auth.RAW_AUTHORIZATION_FIRST:
            return (authorization or secret) == key
        case Auth.BEARER_FIRST:
            return (bearer or secret) == key

"""BlendRequest: the pictures to blend, and the options that the API takes with them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
)

from jobs.actions import Action
from jobs.doors import UPSTREAM_NAME
from jobs.errors import InvalidRequest
from jobs.pictures.in_memory import ImageSource, as_text
from jobs.plain_words import in_plain_words

MIN_IMAGES = 2
MAX_IMAGES = 5
MAX_STATE_CHARACTERS = 255
MAX_CUSTOM_ID_CHARACTERS = 200
MAX_HOOK_CHARACTERS = 2000
MAX_METADATA_CHARACTERS = 4096
# A record that is nested deeper than pydantic reads (some 200 levels) could be written, and never be read again.
MAX_METADATA_DEPTH = 32

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class BotType(StrEnum):
    MID_JOURNEY = "MID_JOURNEY"
    NIJI_JOURNEY = "NIJI_JOURNEY"


class Dimensions(StrEnum):
    """The shape of the blend: PORTRAIT is 2:3, SQUARE 1:1, LANDSCAPE 3:2."""

    PORTRAIT = "PORTRAIT"
    SQUARE = "SQUARE"
    LANDSCAPE = "LANDSCAPE"


class Mode(StrEnum):
    RELAX = "RELAX"
    FAST = "FAST"
    TURBO = "TURBO"


def _api_name(snake: str, api: str) -> Any:
    """A field that may also be given under the API's own spelling, so that existing request bodies can be used."""
    return AliasChoices(snake, api)


class BlendRequest(BaseModel):
    """What to blend, and how.

    Args:
        images: 2 to 5 pictures, in the order the API is to see them: file paths, web addresses (fetched once, when
            the job is enqueued), bytes, files open for reading bytes, PIL images, `data:` URLs, or digests
            (`sha256:…`) of pictures that are already in the image store.
        bot_type: MID_JOURNEY (default) or NIJI_JOURNEY.
        dimensions: PORTRAIT (2:3), SQUARE (1:1, default) or LANDSCAPE (3:2).
        instance_id: only the account of this id may run the job.
        modes: only accounts in one of these modes (RELAX, FAST, TURBO) may run it; empty for any.
        upstream: only the API of this name, one of BLENDQ_UPSTREAMS, may be given the job (docs/upstreams.md).
        remix: only accounts with this remix setting.
        remix_auto_considered: an account that submits remix automatically counts as remix=false.
        notify_hook: your own address, to be told how this job ended (docs/webhooks.md); at most 2000 characters.
        state: your own text, kept with the job and passed to the API where it fits; at most 255 characters.
        custom_id: your own name for the job; names the picture's file.
        priority: 0 (default) to 9 (first).
        then: what is wanted of the finished blend: U1 to U4, V1 to V4, R (`Action`). Each becomes a job of its own as
            soon as the blend has succeeded, and is paid for.
        metadata: any JSON object of yours, kept with the job; at most 4096 characters as JSON, 32 levels deep.

    Raises:
        pydantic.ValidationError: a field is wrong. `BlendRequest.parse` raises InvalidRequest in plain words instead.

    The API's own spellings (`base64Array`, `botType`, `instanceId`, …) are accepted too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    images: Annotated[tuple[str, ...], Field(validation_alias=_api_name("images", "base64Array"))]
    bot_type: Annotated[BotType, Field(validation_alias=_api_name("bot_type", "botType"))] = BotType.MID_JOURNEY
    dimensions: Dimensions = Dimensions.SQUARE
    instance_id: Annotated[
        str | None, Field(validation_alias=_api_name("instance_id", "instanceId"), max_length=200)
    ] = None
    modes: Annotated[tuple[Mode, ...], Field(max_length=3)] = ()
    upstream: Annotated[str | None, Field(pattern=UPSTREAM_NAME)] = None
    remix: bool | None = None
    remix_auto_considered: Annotated[
        bool | None, Field(validation_alias=_api_name("remix_auto_considered", "remixAutoConsidered"))
    ] = None
    notify_hook: Annotated[
        str | None,
        Field(validation_alias=_api_name("notify_hook", "notifyHook"), max_length=MAX_HOOK_CHARACTERS),
    ] = None
    state: Annotated[str | None, Field(max_length=MAX_STATE_CHARACTERS)] = None
    custom_id: Annotated[str | None, Field(min_length=1, max_length=MAX_CUSTOM_ID_CHARACTERS)] = None
    priority: Annotated[int, Field(ge=0, le=9)] = 0
    then: Annotated[tuple[Action, ...], Field(max_length=len(Action))] = ()
    metadata: dict[str, JsonValue] = Field(default_factory=dict)

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            images: Sequence[ImageSource],
            bot_type: BotType | str = ...,
            dimensions: Dimensions | str = ...,
            instance_id: str | None = ...,
            modes: Sequence[Mode | str] = ...,
            upstream: str | None = ...,
            remix: bool | None = ...,
            remix_auto_considered: bool | None = ...,
            notify_hook: str | None = ...,
            state: str | None = ...,
            custom_id: str | None = ...,
            priority: int = ...,
            then: Sequence[Action | str] = ...,
            metadata: Mapping[str, Any] = ...,
        ) -> None:
            """What pydantic takes, which is more than the fields hold."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Without the data of any picture (I8)."""
        for name, value in super().__repr_args__():
            yield name, tuple(map(_without_data, self.images)) if name == "images" else value

    @field_validator("images", mode="before")
    @classmethod
    def _pictures_are_text(cls, value: object) -> object:
        return tuple(map(as_text, value)) if isinstance(value, (list, tuple)) else value

    @field_validator("images")
    @classmethod
    def _two_to_five(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not MIN_IMAGES <= len(value) <= MAX_IMAGES:
            raise ValueError(f"a blend takes {MIN_IMAGES} to {MAX_IMAGES} pictures, not {len(value)}")
        if not all(value):
            raise ValueError("a picture's name is empty")
        try:  # as pydantic does with the other fields, for their lengths
            "".join(value).encode()
        except UnicodeEncodeError as error:
            raise ValueError("holds text that is not valid Unicode (half a surrogate pair)") from error
        return value

    @field_validator("then")
    @classmethod
    def _each_once(cls, value: tuple[Action, ...]) -> tuple[Action, ...]:
        return tuple(dict.fromkeys(value))

    @field_validator("notify_hook")
    @classmethod
    def _http_address(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"https?://[^\s/]+", value):
            raise ValueError("must be an http:// or https:// address")
        return value

    @field_validator("metadata")
    @classmethod
    def _metadata_is_small(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)  # ValueError: no JSON
        text.encode()  # UnicodeEncodeError: pydantic would write another text in its place
        if (size := len(text)) > MAX_METADATA_CHARACTERS:
            raise ValueError(f"is {size} characters as JSON, over the limit of {MAX_METADATA_CHARACTERS}")
        if _deeper_than(MAX_METADATA_DEPTH, value):
            raise ValueError(f"is nested over the limit of {MAX_METADATA_DEPTH} levels")
        return value

    @classmethod
    def parse(cls, fields: Mapping[str, object]) -> BlendRequest:
        """Build a request from untrusted fields.

        Raises:
            InvalidRequest: says, in one line, everything that is wrong with the fields.
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise InvalidRequest(in_plain_words(error)) from error

    def with_images(self, digests: tuple[str, ...]) -> BlendRequest:
        """The same request, its pictures named by digest."""
        return self.model_copy(update={"images": digests})


def _without_data(image: str) -> str:
    return f"{image.partition(',')[0][:60]},…" if is_data_url(image) else image


def _deeper_than(levels: int, value: JsonValue) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper_than(levels - 1, one) for one in inner)


def is_digest(image: str) -> bool:
    """Whether `image` names a stored picture rather than a path or a data URL."""
    return _DIGEST.fullmatch(image) is not None


def is_data_url(image: str) -> bool:
    return image[:5].lower() == "data:"


def is_address(image: str) -> bool:
    """Whether it is written as an address, of the web or not: a file's name has no `://`."""
    return _ADDRESS.match(image) is not None


def is_web_address(image: str) -> bool:
    return image[:8].lower().startswith(("http://", "https://"))

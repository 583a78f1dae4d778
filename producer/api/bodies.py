"""Bodies: what is sent to us, read whole within limits of size and time, before anything is done with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Self, TypeVar

from fastapi import Depends, Header, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from jobs.actions import Action
from jobs.errors import InvalidRequest, PictureError
from jobs.idempotency import MAX_KEY_CHARACTERS
from jobs.job import DEFAULT_CAMPAIGN
from jobs.plain_words import in_plain_words
from jobs.request import BlendRequest, is_digest
from producer.api.problems import Refused

M = TypeVar("M", bound=BaseModel)

MULTIPART_EXTRA_BYTES = 64 * 1024
PICTURE_TYPES = frozenset({"", "application/octet-stream", "image/png", "image/jpeg", "image/webp", "image/gif"})


async def read_body(request: Request, most_bytes: int) -> bytes:
    """
    Raises:
        Refused: it is larger (413), or takes too long (408).
    """
    seconds = request.app.state.blends.settings.service_body_seconds
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most_bytes:
        raise _too_large(most_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                body += part
                if len(body) > most_bytes:
                    raise _too_large(most_bytes)
    except TimeoutError as error:
        words = f"the body did not come within {seconds:g} s"
        raise Refused.later(HTTPStatus.REQUEST_TIMEOUT, "slow_body", words) from error
    return bytes(body)


def _too_large(most_bytes: int) -> Refused:
    return Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", f"the body is over the limit of {most_bytes:,} bytes"
    )


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _json_body(request: Request) -> bytes:
    must_be(request, "application/json")
    return await read_body(request, request.app.state.blends.settings.service_max_body_bytes)


def must_be(request: Request, wanted: str) -> None:
    """Raises Refused (415) when the body does not say that it is of this media type."""
    if (given := media_type(request)) != wanted:
        said = repr(given[:100]) if given else "nothing"
        words = f"the body must be {wanted}, and say so in Content-Type; it says {said}"
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "media_type", words)


async def _picture_body(request: Request) -> bytes:
    """The picture of a raw or a multipart body."""
    most = int(request.app.state.blends.settings.max_image_bytes)
    if media_type(request) == "multipart/form-data":
        return await _picture_of_form(request, await read_body(request, most + MULTIPART_EXTRA_BYTES))
    if (given := media_type(request)) not in PICTURE_TYPES:
        words = f"{given[:100]!r} is no picture that is taken; send a PNG, JPEG, WebP or GIF, or multipart/form-data"
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "media_type", words)
    return await read_body(request, most)


async def _picture_of_form(request: Request, body: bytes) -> bytes:
    async def whole() -> AsyncIterator[bytes]:
        yield body
        yield b""

    try:
        parser = MultiPartParser(request.headers, whole(), max_files=1, max_fields=0)  # type: ignore[arg-type]
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        words = f"the form cannot be read ({error}); it must hold one file, the picture, and nothing else"
        raise Refused(HTTPStatus.BAD_REQUEST, "form", words) from error
    try:
        files = [part for part in form.values() if isinstance(part, UploadFile)]
        if len(files) != 1:
            raise Refused(HTTPStatus.BAD_REQUEST, "form", "the form must hold one file, the picture")
        return await files[0].read()
    finally:
        await form.close()


async def _idempotency_key(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(description="your own name for the job, whatever its campaign: 1 to 255 visible ASCII characters"),
    ] = None,
) -> str | None:
    given = request.headers.getlist("idempotency-key")
    if len(given) > 1 or (given and not is_key(given[0])):
        words = f"Idempotency-Key must be one header of 1 to {MAX_KEY_CHARACTERS} visible ASCII characters"
        raise Refused(HTTPStatus.BAD_REQUEST, "idempotency_key", words)
    return idempotency_key


def is_key(key: str) -> bool:
    return 0 < len(key) <= MAX_KEY_CHARACTERS and all("!" <= character <= "~" for character in key)


def from_json(model: type[M], body: bytes) -> M:
    """
    Raises:
        Refused: it is not JSON (400).
        InvalidRequest: it is, and not what the model says.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        if error.errors(include_input=False, include_url=False)[0]["type"] == "json_invalid":
            raise Refused(HTTPStatus.BAD_REQUEST, "json", in_plain_words(error)) from error
        raise InvalidRequest(in_plain_words(error)) from error


JsonBody = Annotated[bytes, Depends(_json_body)]
PictureBody = Annotated[bytes, Depends(_picture_body)]
IdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]


class Wishes(BaseModel):
    """What is wanted of a finished grid. `again`: one more of each, though there is one; not of upscales."""

    model_config = ConfigDict(extra="forbid")

    actions: Annotated[tuple[Action, ...], Field(min_length=1, max_length=len(Action))]
    again: bool = False

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Raises what `from_json` raises."""
        return from_json(cls, body)


class NewJob(BlendRequest):
    """A job to be enqueued. Its pictures are digests from `PUT /v1/images`, or `data:` URLs."""

    campaign: Annotated[str, Field(description="1 to 64 letters, digits, '-', '_' or '.'")] = DEFAULT_CAMPAIGN

    @classmethod
    def read(cls, body: bytes) -> Self:
        """
        Raises:
            Refused: it is not JSON (400).
            InvalidRequest: it is, and no job.
            PictureError: it names a picture by anything but its content: this machine's files are not for others.
        """
        new = from_json(cls, body)
        for number, image in enumerate(new.images, 1):
            if not is_digest(image) and image[:5].lower() != "data:":
                raise PictureError(f"image {number}: must be a digest from PUT /v1/images, or a data URL")
        return new

    @property
    def request(self) -> BlendRequest:
        return BlendRequest.model_construct(**{name: getattr(self, name) for name in BlendRequest.model_fields})


class BatchJob(NewJob):
    """A line of a batch: a job, and its own idempotency key."""

    idempotency_key: Annotated[
        str | None,
        Field(max_length=MAX_KEY_CHARACTERS, pattern="^[!-~]+$", description="1 to 255 visible ASCII characters"),
    ] = None

    @classmethod
    def read_line(cls, line: bytes | None) -> Self:
        """As `read`; None for a line that was too long to be kept."""
        if line is None:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", "the line is over the limit of a job's size"
            )
        return cls.read(line)

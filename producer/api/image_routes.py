"""/v1/images: pictures in, by which jobs name them; and finished pictures out."""

from __future__ import annotations

import io
from http import HTTPStatus

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from jobs.errors import PictureError, PictureMissing
from jobs.pictures.picture_formats import read_header
from producer.api.bodies import PictureBody
from producer.api.parts import Blends
from producer.api.problems import Refused
from producer.api.views import ImageView
from producer.client import Producer

router = APIRouter(tags=["images"])

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {"schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}}
_BODY = {
    "requestBody": {"required": True, "content": {"application/octet-stream": _BINARY, "multipart/form-data": _FORM}}
}
_PICTURE = {
    "description": "The picture.",
    "content": dict.fromkeys(("image/png", "image/jpeg", "image/webp"), _BINARY),
}
# It is named by its content, so it never changes.
_FOREVER = "private, max-age=31536000, immutable"


@router.put("/v1/images", status_code=201, openapi_extra=_BODY)
def upload(blends: Blends, body: PictureBody, response: Response) -> ImageView:
    """Store a picture: PNG, JPEG, WebP or GIF, raw or as the one file of a form. Its digest names it in jobs.

    The same picture again is the same digest. What is not a picture gets 415, one over a limit 413, a broken one 422.
    """
    _must_fit(blends, body)
    image = ImageView.of(blends.images.put_bytes(body, name="the picture"))
    response.headers["Location"] = image.url
    return image


def _must_fit(blends: Producer, body: bytes) -> None:
    """By its first bytes; whether it is whole is seen when it is decoded."""
    most_bytes, most_pixels = blends.settings.max_image_bytes, blends.settings.max_image_pixels
    if len(body) > most_bytes:
        words = f"the picture is over the limit of {most_bytes:,} bytes"
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", words)
    try:
        header = read_header(io.BytesIO(body), "the picture")
    except PictureError as error:
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, error.code, str(error)) from error
    if header.pixels > most_pixels:
        words = f"the picture is over the limit of {most_pixels:,} pixels"
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", words)


@router.get("/v1/images/{digest}", response_class=FileResponse, responses={200: _PICTURE})
def download(blends: Blends, digest: str) -> FileResponse:
    """A picture: a job's `picture_url` leads here."""
    found = blends.images.find(digest)
    if found is None:
        raise PictureMissing("there is no such picture; a job that succeeded tells its picture_url")
    headers = {"Cache-Control": _FOREVER, "ETag": f'"{digest}"', "X-Content-Type-Options": "nosniff"}
    return FileResponse(found.path, media_type=found.media_type, headers=headers)

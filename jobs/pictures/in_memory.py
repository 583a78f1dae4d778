"""Pictures that a program holds in memory. A request takes them as `data:` URLs; the image store has them from there.

So no record ever holds one: when a request is enqueued, each of its pictures is stored, and named by its digest.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeGuard

import pybase64

if TYPE_CHECKING:
    from PIL.Image import Image

# What one may hold in memory; the image store's own limit comes on top. A larger one is given as a file.
MAX_BYTES = 64 << 20
_PNG_MODES = frozenset({"1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"})


class BinaryFile(Protocol):
    """A file that is open for reading bytes."""

    def read(self, size: int, /) -> bytes: ...


ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryFile | Image"


def as_text(image: object) -> object:
    """What a request holds for a picture that it is given; what is no picture is left for the request to refuse.

    Args:
        image: an `ImageSource`. A file is read from where it stands, and is left open.

    Raises:
        ValueError: it is too large, or cannot be read.
    """
    match image:
        case str():
            return image
        case os.PathLike():
            return os.fspath(image)
        case memoryview() if not image.c_contiguous:  # a part of an array, for one: as the bytes that it stands for
            return _data_url(image.tobytes())
        case bytes() | bytearray() | memoryview():
            return _data_url(image)
        case _ if _is_pil_image(image):
            return _data_url(_png(image))
        case _ if hasattr(image, "read"):
            return _data_url(_read(image))
        case _:
            return image


def _data_url(data: bytes | bytearray | memoryview) -> str:
    """Its real type is seen when it is stored, so none is declared."""
    if memoryview(data).nbytes > MAX_BYTES:
        raise ValueError(f"a picture in memory is over the limit of {MAX_BYTES:,} bytes; give its file")
    return "data:application/octet-stream;base64," + pybase64.b64encode(data).decode("ascii")


def _read(file: BinaryFile) -> bytes:
    """At most one byte too many; a file may give less at a time than it is asked for."""
    data = bytearray()
    try:
        while len(data) <= MAX_BYTES and (piece := file.read(MAX_BYTES + 1 - len(data))):
            data += piece
    except TypeError as error:
        raise ValueError("a picture's file must give bytes; open it with mode 'rb'") from error
    except OSError as error:
        raise ValueError(f"a picture's file cannot be read ({error.strerror or type(error).__name__})") from error
    return bytes(data)


def _is_pil_image(image: object) -> TypeGuard[Image]:
    """Whoever has one has imported its module."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def _png(image: Image) -> bytes:
    file = io.BytesIO()
    try:
        (image if image.mode in _PNG_MODES else image.convert("RGB")).save(file, "PNG")
    except OSError as error:
        raise ValueError(f"a PIL image cannot be read ({error})") from error
    return file.getvalue()

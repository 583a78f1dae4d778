"""Which file is a picture, and of what kind and size: from its first bytes, and in full by decoding it."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from PIL import GifImagePlugin, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from jobs.errors import PictureError

# Opened by class rather than by Image.open: that warns about large pictures, and we have a limit of our own.
_DECODERS: dict[str, Callable[[BinaryIO], ImageFile.ImageFile]] = {
    "image/png": PngImagePlugin.PngImageFile,
    "image/jpeg": JpegImagePlugin.JpegImageFile,
    "image/webp": WebPImagePlugin.WebPImageFile,
    "image/gif": GifImagePlugin.GifImageFile,
}
MEDIA_TYPES = frozenset(_DECODERS)
# Honest headers take far fewer: 20 MiB of parts as large as they may be are 82,000.
MAX_HEADER_READS = 200_000
# What people try most often beside these; only to tell them what their file is.
_OTHER_FORMATS = {
    b"BM": "a BMP picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF",
    b"<svg": "an SVG drawing",
    b"<?xml": "an XML file",
}


class Header(NamedTuple):
    """What a picture says of itself; sizes are in pixels."""

    media_type: str
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


def check_picture(path: Path, max_pixels: int, name: str) -> Header:
    """Decode the first frame in full: the API would refuse a broken picture late, or blend half of it.

    Args:
        path: where it is.
        max_pixels: the most that width times height may be.
        name: stands for the picture in errors.

    Raises:
        PictureError: it is not a picture, is broken, or is over the limit.
    """
    with path.open("rb") as file:
        header = read_small_header(file, max_pixels, name)
        decode(file, header, name)
    return header


def read_small_header(file: BinaryIO, max_pixels: int, name: str) -> Header:
    """The header of a picture that is within the limit; else raises PictureError."""
    header = read_header(file, name)
    if header.pixels > max_pixels:
        size = f"{header.width} x {header.height} pixels"
        raise PictureError(
            f"{name}: {size} is over the limit of {max_pixels:,}; make it smaller, or raise BLENDQ_MAX_IMAGE_PIXELS"
        )
    return header


def decode(file: BinaryIO, header: Header, name: str) -> None:
    """Decode the first frame; raises PictureError when it is broken, or not of the size that its header says."""
    file.seek(0)
    try:
        with _DECODERS[header.media_type](file) as picture:
            # Before anything is decoded: of two headers in one file, the decoder may believe the other, larger one.
            agrees = picture.size == (header.width, header.height)
            if agrees:
                picture.load()
    except MemoryError as error:
        raise PictureError(f"{name}: takes too much memory to decode; make it smaller") from error
    except Exception as error:  # decoders meet hostile bytes with any exception at all
        raise _broken(name) from error
    if not agrees:
        raise _broken(name)


@contextmanager
def opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """A picture that was checked, to be decoded. Our limit was kept then, and Pillow's own is none of it.

    Raises:
        PictureError: it is no picture any more.
    """
    with path.open("rb") as file:
        decoder = _DECODERS[read_header(file, path.name).media_type]
        file.seek(0)
        with decoder(file) as picture:
            yield picture


def _broken(name: str) -> PictureError:
    return PictureError(f"{name}: is truncated or broken; save or download the picture again")


class _FewReads:
    """A file whose header is read in no more than so many parts: of millions, each would take its time and memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = MAX_HEADER_READS

    def read(self, size: int = -1) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ValueError("too many parts")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def read_header(file: BinaryIO, name: str) -> Header:
    file.seek(0)
    head = file.read(30)
    try:
        header = _sniff(cast("BinaryIO", _FewReads(file)), head)
    except Exception as error:  # as above
        raise _broken(name) from error
    if header is None:
        kinds = (kind for magic, kind in _OTHER_FORMATS.items() if head.startswith(magic))
        raise PictureError(f"{name}: is {next(kinds, 'not a picture')}; give a PNG, JPEG, WebP or GIF picture")
    return header


def _sniff(file: BinaryIO, head: bytes) -> Header | None:
    """Type and size from the first bytes, as PNG (11.2.1), GIF89a (18, 20) and WebP (RFC 9649) lay them out."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Header("image/png", *struct.unpack_from(">II", head, 16))
    if head.startswith((b"GIF87a", b"GIF89a")):
        return Header("image/gif", *_gif_size(file, head))
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return Header("image/webp", *_webp_size(head))
    if head.startswith(b"\xff\xd8\xff"):
        file.seek(0)
        return Header("image/jpeg", *JpegImagePlugin.JpegImageFile(file).size)
    return None


def _gif_size(file: BinaryIO, head: bytes) -> tuple[int, int]:
    """The screen, or the first frame where that reaches further: Pillow makes the picture as large as both."""
    width, height, flags = struct.unpack_from("<HHB", head, 6)
    file.seek(13 + (6 << (flags & 7) if flags & 0x80 else 0))
    while (mark := file.read(1)) != b",":
        if mark in (b"", b";"):
            raise ValueError("no frame")
        if mark == b"!":
            file.read(1)
            while length := file.read(1)[0]:
                file.seek(length, os.SEEK_CUR)
    x, y, frame_width, frame_height = struct.unpack("<HHHH", file.read(8))
    return max(width, x + frame_width), max(height, y + frame_height)


def _webp_size(head: bytes) -> tuple[int, int]:
    match head[12:16]:
        case b"VP8X":
            return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", head, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case _:
            width, height = struct.unpack_from("<HH", head, 26)
            return width & 0x3FFF, height & 0x3FFF

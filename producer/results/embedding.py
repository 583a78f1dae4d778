"""What a picture says of where it comes from, inside its own file. Its pixels are not touched, nor encoded again.

PNG: an iTXt chunk before the picture's data (PNG specification, 11.3.3.4). WebP: XMP (RFC 9649, 2.7.1.5). JPEG: a
comment. Other kinds stay as they are.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator
from html import escape, unescape
from pathlib import Path
from typing import Any

from PIL import Image

from jobs.job import Job
from jobs.report import rfc3339, source_name
from jobs.request import BlendRequest, is_data_url, is_web_address

KEYWORD = "blendq"
_COMMENT = b"blendq "
_PNG_HEAD = 8
_XMP_FLAG, _ALPHA_FLAG = 0x04, 0x10
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:blendq="urn:blendq:1" blendq:record="{}"/></rdf:RDF></x:xmpmeta>'
)
_IN_XMP = re.compile(r'blendq:record="([^"]*)"')
_OPTIONS = ("dimensions", "bot_type", "modes", "instance_id", "upstream", "remix", "remix_auto_considered")


def origin(job: Job, asked: BlendRequest) -> dict[str, Any]:
    """Where a picture comes from: its job, and the names of what was blended, without folders, keys or data (I8).

    Args:
        job: the record.
        asked: the request as the manifest has it.
    """
    options = job.request.model_dump(mode="json", include=set(_OPTIONS), exclude_none=True)
    return {
        "job": job.id,
        "campaign": job.campaign,
        **({"action": job.follows.label, "parent": job.follows.job_id} if job.follows else {}),
        "custom_id": asked.custom_id,
        "images": [_name(image) for image in asked.images],
        "options": {name: value for name, value in options.items() if value != []},
        **({"seed": job.seed} if job.seed else {}),
        "finished_at": rfc3339(job.finished_at),
    }


def _name(image: str) -> str:
    return source_name(image) if is_data_url(image) or is_web_address(image) else Path(image).name


def embed(data: bytes, media_type: str, facts: dict[str, Any]) -> bytes:
    """The picture's file with these facts in it. The same ones give the same file.

    Args:
        data: of a picture that can be decoded. Where it is built in a way that decoders forgive, it stays as it is.
        media_type: its kind.
        facts: from `origin`.
    """
    text = json.dumps(facts, separators=(",", ":")).encode()
    try:
        return _into(media_type, data, text)
    except (struct.error, IndexError):
        return data


def _into(media_type: str, data: bytes, text: bytes) -> bytes:
    match media_type:
        case "image/png":
            return _into_png(data, text)
        case "image/webp":
            return _into_webp(data, _XMP.format(escape(text.decode())).encode())
        case "image/jpeg":
            return _into_jpeg(data, _COMMENT + text)
        case _:
            return data


def embedded(path: Path) -> dict[str, Any] | None:
    """What `embed` has put into a file; None when there is nothing, or it is no picture.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        try:
            with Image.open(file) as picture:
                facts = json.loads(_text(picture))
        except Exception:  # noqa: BLE001  (decoders meet hostile bytes with any exception at all)
            return None
    return facts if isinstance(facts, dict) else None


def _text(picture: Image.Image) -> str | bytes:
    if KEYWORD in picture.info:
        return str(picture.info[KEYWORD])
    if found := _IN_XMP.search(picture.info.get("xmp", b"").decode(errors="replace")):
        return unescape(found[1])
    segments = getattr(picture, "applist", ())  # a JPEG's; it may have comments of others too
    return next((text for kind, text in segments if kind == "COM" and text.startswith(_COMMENT)), b"")[len(_COMMENT) :]


def _into_png(data: bytes, text: bytes) -> bytes:
    # Keyword, zero; not compressed; no language and no translated keyword.
    content = KEYWORD.encode() + b"\0" + b"\0\0" + b"\0\0" + text
    body = b"iTXt" + content
    chunk = struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
    out = bytearray(data[:_PNG_HEAD])
    for kind, start, end in _png_chunks(data):
        if kind == b"IDAT":
            return bytes(out) + chunk + data[start:]
        if not data.startswith(b"iTXt" + KEYWORD.encode() + b"\0", start + 4):  # a blend of ours, blended again
            out += data[start:end]
    raise IndexError("no picture's data")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk's kind, where it starts, and where it ends."""
    start = _PNG_HEAD
    while start < len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        yield kind, start, end
        start = end


def _into_webp(data: bytes, xmp: bytes) -> bytes:
    chunks = [chunk for chunk in _webp_chunks(data) if chunk[0] != b"XMP "]
    kind, first = chunks[0]
    if kind == b"VP8X":
        chunks[0] = kind, bytes([first[0] | _XMP_FLAG]) + first[1:]
    else:
        chunks.insert(0, (b"VP8X", _vp8x(kind, first)))
    body = b"WEBP" + b"".join(_webp_chunk(*chunk) for chunk in [*chunks, (b"XMP ", xmp)])
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    start, end = 12, 8 + int.from_bytes(data[4:8], "little")
    while start < end:
        kind, length = struct.unpack_from("<4sI", data, start)
        yield kind, data[start + 8 : start + 8 + length]
        start += 8 + length + length % 2


def _webp_chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _vp8x(kind: bytes, first: bytes) -> bytes:
    """The head that a file of one chunk does without: what else is in it, and how large it is."""
    flags = _XMP_FLAG
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", first, 1)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        flags |= _ALPHA_FLAG if bits >> 28 & 1 else 0
    else:
        width, height = (int(side) & 0x3FFF for side in struct.unpack_from("<HH", first, 6))
    sides = (side - 1 for side in (width, height))
    return struct.pack("<I", flags) + b"".join(side.to_bytes(3, "little") for side in sides)


def _into_jpeg(data: bytes, text: bytes) -> bytes:
    """Behind the segments of applications, which some readers want to come first."""
    at = 2
    while data[at] == 0xFF and 0xE0 <= data[at + 1] <= 0xEF:
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return data[:at] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + data[at:]

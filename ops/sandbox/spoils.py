"""Spoils: what may come instead of a finished picture."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache

from starlette.responses import HTMLResponse, RedirectResponse, Response

from ops.sandbox.answers import HTML_PAGE

# Only whoever stands in a cloud's own network could answer there.
PRIVATE_PLACE = "http://169.254.169.254/latest/meta-data/"
# Few bytes as a file; in memory, far more than anybody wants.
BOMB_SIDE_PIXELS = 30_000
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _png(content: bytes) -> Response:
    return Response(content, media_type="image/png")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@cache
def bomb() -> bytes:
    """A whole and true PNG, one bit a pixel, of BOMB_SIDE_PIXELS squared."""
    press, row = zlib.compressobj(9), bytes(1 + -(-BOMB_SIDE_PIXELS // 8))
    rows = b"".join(press.compress(row) for _ in range(BOMB_SIDE_PIXELS)) + press.flush()
    head = struct.pack(">IIBBBBB", BOMB_SIDE_PIXELS, BOMB_SIDE_PIXELS, 1, 0, 0, 0, 0)
    return PNG_SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def expired() -> Response:
    return Response("This content is no longer available.", 403, media_type="text/plain")


# From the true picture to what is sent.
SPOILS: dict[str, Callable[[bytes], Response]] = {
    "truncated": lambda content: _png(content[: len(content) // 2]),
    "wrong-type": lambda _: _png(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"),
    "html": lambda _: HTMLResponse(HTML_PAGE),
    "empty": lambda _: _png(b""),
    "bomb": lambda _: _png(bomb()),
    "redirect": lambda _: RedirectResponse(PRIVATE_PLACE, 302),
    "expired": lambda _: expired(),
}

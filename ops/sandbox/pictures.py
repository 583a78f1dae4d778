"""Pictures: what came in, checked and kept; what goes out, a 2×2 grid made from exactly those bytes."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from PIL import Image, ImageFilter, ImageOps
from PIL.PngImagePlugin import PngInfo

_END_BYTES = 12  # the IEND chunk, with which each PNG ends
INPUTS_KEY = "blendq-sandbox-inputs"
PREVIEW_KEY = "blendq-sandbox-preview-of"
PREVIEW_BLUR = 1 / 32  # of its width
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
GRID_SIZES = {"PORTRAIT": (336, 504), "SQUARE": (512, 512), "LANDSCAPE": (504, 336)}


@lru_cache(maxsize=4096)  # asked for each time that a task is shown
def _digest(spec: PictureSpec) -> str:
    return hashlib.sha256(json.dumps(spec.as_json(), sort_keys=True).encode()).hexdigest()


class BadPicture(ValueError):
    """Bytes that are no picture."""


@dataclass(frozen=True)
class PictureSpec:
    """All that a picture is made from, so that it can be made at any time, and always the same.

    `inputs` are sha256 digests in order; `take` counts rerolls; `quadrant` is 1 to 4 for one variant, 0 for the grid;
    a `preview` is what is shown before the picture is finished.
    """

    inputs: tuple[str, ...]
    dimensions: str
    take: int = 0
    quadrant: int = 0
    preview: bool = False

    def digest(self) -> str:
        return _digest(self)

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))

    def variant(self, quadrant: int) -> PictureSpec:
        return replace(self, quadrant=quadrant)

    def another_take(self, step: int) -> PictureSpec:
        return replace(self, take=self.take + step)

    def unfinished(self) -> PictureSpec:
        return replace(self, preview=True)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> PictureSpec:
        return cls(**(fields | {"inputs": tuple(fields["inputs"])}))


def check(content: bytes) -> None:
    """Decode the whole picture once.

    Raises:
        BadPicture: it does not decode.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            picture.load()
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise BadPicture(str(error)) from error


def render(spec: PictureSpec, inputs: list[bytes], shrink: int = 1) -> bytes:
    """The picture as PNG; its text `blendq-sandbox-inputs` names the inputs, so that anyone can prove the origin.

    A preview is blurred, and has that text under another name: nobody can take it for the picture.

    Args:
        shrink: by what each side is divided, for runs in which nobody looks at the pictures.
    """
    width, height = (side // shrink for side in GRID_SIZES[spec.dimensions])
    cell = (width // 2, height // 2)
    parts = [_fitted(content, cell) for content in inputs]
    cells = [_blended(parts, variant, spec.take) for variant in range(4)]
    picture = cells[spec.quadrant - 1] if spec.quadrant else _grid(cells, (width, height))
    if spec.preview:
        picture = picture.filter(ImageFilter.BoxBlur(picture.width * PREVIEW_BLUR))
    text = PngInfo()
    text.add_text(PREVIEW_KEY if spec.preview else INPUTS_KEY, ",".join(spec.inputs))
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=1, pnginfo=text)
    return out.getvalue()


def marked(png: bytes, name: str) -> bytes:
    """The same picture as a file of its own: two tasks never make the same one, whatever they are made from."""
    text = b"tEXt" + b"blendq-sandbox-name\0" + name.encode("latin-1")
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    return png[:-_END_BYTES] + chunk + png[-_END_BYTES:]


def _fitted(content: bytes, size: tuple[int, int]) -> Image.Image:
    with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
        picture.draft("RGB", (size[0] * 2, size[1] * 2))
        drawn = picture.convert("RGB")
        excess = min(drawn.width // size[0], drawn.height // size[1])
        if excess > 1:  # cheap first step; the fine one then has little left to do
            drawn = drawn.reduce(excess)
        return ImageOps.fit(drawn, size, Image.Resampling.BILINEAR)


def _grid(cells: list[Image.Image], size: tuple[int, int]) -> Image.Image:
    grid = Image.new("RGB", size)
    for index, cell in enumerate(cells):
        grid.paste(cell, ((index % 2) * cell.width, (index // 2) * cell.height))
    return grid


def _blended(parts: list[Image.Image], variant: int, take: int) -> Image.Image:
    """One of four variants: even, first input favoured, faded side by side, one in the midst of the others."""
    shift = take % len(parts)
    ordered = parts[shift:] + parts[:shift]
    match variant:
        case 0:
            return _averaged(ordered, favour=1.0)
        case 1:
            return _averaged(ordered, favour=2.5)
        case 2:
            return _composed(ordered, Image.linear_gradient("L").rotate(90))
        case _:
            return _composed(ordered, Image.radial_gradient("L"))


def _averaged(parts: list[Image.Image], favour: float) -> Image.Image:
    mixed, weight = parts[0], favour
    for part in parts[1:]:
        weight += 1.0
        mixed = Image.blend(mixed, part, 1.0 / weight)
    return mixed


def _composed(parts: list[Image.Image], mask: Image.Image) -> Image.Image:
    return Image.composite(
        _averaged(parts[1:], favour=1.0), parts[0], mask.resize(parts[0].size, Image.Resampling.BILINEAR)
    )

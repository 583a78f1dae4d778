"""Smaller: pictures made smaller, or of another format, before they are uploaded."""

from __future__ import annotations

import io
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from PIL import Image, ImageOps

from jobs.errors import PictureError
from jobs.files import create_once
from jobs.pictures.images import ImageStore, StoredImage
from jobs.pictures.picture_formats import opened

# Of a picture that is to become smaller; what is sent has the limit of the settings.
ORIGINAL_MAX_BYTES = 256 << 20
QUALITY = 90
_UPRIGHT = 1
_ORIENTATION = 0x0112  # EXIF


class Format(StrEnum):
    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"


@dataclass(frozen=True)
class Fit:
    """What pictures are to be like.

    `max_side` is in pixels, None for any. A `format` of None keeps the picture's own; a GIF becomes PNG, its
    first frame.
    """

    max_side: int | None = None
    format: Format | None = None

    @property
    def name(self) -> str:
        return f"{self.max_side or 'any'}-{self.format or 'any'}"


class Smaller:
    """Makes stored pictures fit, and stores the outcome beside them.

    What a picture became is noted in a file: another version of Pillow would write other bytes, and so make another
    job of the same blend, to be paid for again.

    Args:
        images: where the originals are, and where the others go.
        fit: what they are to be like.
    """

    def __init__(self, images: ImageStore, fit: Fit) -> None:
        self._images = images
        self._fit = fit
        self._notes = images.root.with_name("smaller") / fit.name

    def of(self, original: StoredImage, name: str) -> StoredImage:
        """The picture to send for this one; itself where it fits.

        Raises:
            PictureError: it cannot be made to fit. `name` stands for it.
        """
        note = self._notes / original.digest.removeprefix("sha256:")
        if note.exists() and (found := self._images.find(note.read_text(encoding="utf-8"))):
            return found
        try:
            content = fitted(original.path, original.media_type, self._fit)
        except (OSError, ValueError, SyntaxError) as error:
            raise PictureError(f"{name}: cannot be made smaller ({error}); save it anew") from error
        if content is None:
            content = original.path.read_bytes()  # it may be over the limit of what is sent
        made = self._images.put_bytes(content, name=name)
        digest = create_once(note, made.digest)
        return self._images.find(digest) or made


def fitted(path: Path, media_type: str, fit: Fit) -> bytes | None:
    """The picture upright, at most so large, in the format; None when it is all that already."""
    own = media_type.partition("/")[2]
    wanted = fit.format.value if fit.format else "png" if own == "gif" else own
    with opened(path) as picture:
        large = fit.max_side is not None and max(picture.size) > fit.max_side
        turned = picture.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT
        if wanted == own and not large and not turned:
            return None
        small = upright(picture, fit.max_side)
    if wanted == Format.JPEG and small.mode == "RGBA":
        small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small).convert("RGB")
    out = io.BytesIO()
    small.save(out, wanted.upper(), quality=QUALITY)
    return out.getvalue()


def upright(picture: Image.Image, max_side: int | None) -> Image.Image:
    """A copy as people see it, at most so large, without a camera's remarks and where it was."""
    if max_side is not None:
        picture.draft("RGB", (max_side, max_side))  # a JPEG is then decoded small at once
    clear = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
    turned = ImageOps.exif_transpose(picture).convert("RGBA" if clear else "RGB")
    if max_side is not None:
        turned.thumbnail((max_side, max_side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    turned.info.clear()
    return turned

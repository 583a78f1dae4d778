"""The body of a submission, streamed: the pictures go from disk to base64 to the wire without standing in memory.

Its length is known ahead, and its last byte is held back until `commit` returns: a server cannot accept a body
that is not complete, so until then nothing can have been paid.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pybase64

from jobs.errors import PictureMissing, PictureUnreadable
from jobs.request import BlendRequest

# A multiple of 3, so that no chunk but a picture's last one is padded; and 64 KiB on the wire, one write: `progress`
# is called between any two writes, so that a slow upload can show that it lives.
CHUNK_BYTES = 48 << 10
WRITE_BYTES = CHUNK_BYTES // 3 * 4

_MEDIA_TYPE = re.compile(r"image/[A-Za-z0-9.+-]{1,64}")
_NO_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError)  # the last: no system takes the path
_OPENING = b'{"base64Array":['
Content = bytes  # a name for it where `bytes` is a number


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture on disk. `bytes` is the length that is announced: the file must have exactly that.

    `content`: of a small one, which was read already; it is not read again.
    """

    media_type: str
    path: Path
    bytes: int
    content: Content | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not _MEDIA_TYPE.fullmatch(self.media_type) or self.bytes < 0:
            raise ValueError(f"not a picture: media type {self.media_type!r}, {self.bytes} bytes")
        if self.content is not None and len(self.content) != self.bytes:
            raise ValueError(f"a picture of {self.bytes} bytes has {len(self.content)}")


class Body(ABC):
    """The body of a submission: a JSON object. Can be streamed more than once.

    `path` is the call that takes it; `content_length` is the exact length in bytes.
    """

    path: str
    content_length: int

    def stream(self, commit: Callable[[], None], progress: Callable[[], None] | None = None) -> Generator[bytes]:
        """The body in chunks. `commit` is called when all but the last byte was taken; only then the last one comes.

        Args:
            commit: makes the commitment durable. What it raises comes out, and the body stays incomplete.
            progress: called between chunks; what it raises comes out likewise.

        Raises:
            PictureMissing: a file is missing, or not of its announced length. Always before `commit`, as is
            PictureUnreadable: a file cannot be read now.
        """
        for chunk in _gathered(self._all_but_the_last_byte()):
            yield chunk
            if progress is not None:
                progress()
        commit()
        yield b"}"

    @abstractmethod
    def _all_but_the_last_byte(self) -> Iterator[bytes]: ...


class BlendBody(Body):
    """The body of one `POST /mj/submit/blend`.

    Args:
        request: the options; its `images`, `notify_hook` and `state` are the caller's own and not sent.
        pictures: in the order of `request.images`.
        notify_hook: the address for callbacks; None for none.
        state: the text that the API echoes on the task; None for none.
        nested_account_filter: send instanceId, modes, remix and remixAutoConsidered inside `accountFilter`, as older
            servers take them; else flat, as on the reference page of submit/blend.
    """

    path = "/mj/submit/blend"

    def __init__(
        self,
        request: BlendRequest,
        pictures: Sequence[Picture],
        notify_hook: str | None = None,
        state: str | None = None,
        nested_account_filter: bool = False,
    ) -> None:
        if len(pictures) != len(request.images):
            raise ValueError(f"the request names {len(request.images)} pictures, and {len(pictures)} are given")
        self._pictures = tuple(pictures)
        self._prefixes = tuple(_prefix(index, picture) for index, picture in enumerate(self._pictures))
        options = _options(request, notify_hook, state, nested_account_filter)
        self._closing = b"]," + json.dumps(options, separators=(",", ":")).encode()[1:]
        self.content_length = (
            len(_OPENING)
            + sum(
                len(prefix) + _base64_bytes(p.bytes) + 1
                for prefix, p in zip(self._prefixes, self._pictures, strict=True)
            )
            + len(self._closing)
        )

    def _all_but_the_last_byte(self) -> Iterator[bytes]:
        yield _OPENING
        for prefix, picture in zip(self._prefixes, self._pictures, strict=True):
            yield prefix
            yield from _base64_of(picture)
            yield b'"'
        yield self._closing[:-1]


def _gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same in fewer writes, each of which passes through several layers: small pieces go together."""
    together: list[bytes] = []
    size = 0
    for piece in pieces:
        if together and size + len(piece) > WRITE_BYTES:
            yield b"".join(together)
            together, size = [], 0
        together.append(piece)
        size += len(piece)
    yield b"".join(together)


def _prefix(index: int, picture: Picture) -> bytes:
    return f'{"," if index else ""}"data:{picture.media_type};base64,'.encode()


def _base64_bytes(length: int) -> int:
    return (length + 2) // 3 * 4


def _options(
    request: BlendRequest, notify_hook: str | None, state: str | None, nested_account_filter: bool
) -> dict[str, object]:
    """Absent rather than null: servers refuse an explicit null. `dimensions` is always sent, so that it is no guess."""
    account = _given(
        {
            "instanceId": request.instance_id,
            "modes": [mode.value for mode in request.modes] or None,
            "remix": request.remix,
            "remixAutoConsidered": request.remix_auto_considered,
        }
    )
    options = _given({"notifyHook": notify_hook, "state": state})
    options |= {"botType": request.bot_type.value, "dimensions": request.dimensions.value}
    if nested_account_filter:
        return options | ({"accountFilter": account} if account else {})
    return options | account


def _given(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


def _base64_of(picture: Picture) -> Iterator[bytes]:
    if picture.content is not None:
        yield pybase64.b64encode(picture.content)
        return
    try:
        with picture.path.open("rb") as file:
            yield from _encoded(file, picture)
    except _NO_FILE as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise PictureMissing(f"picture {picture.path.name}: {reason}; store it again, then retry the job") from error
    except OSError as error:  # too many open files, or the disk is away
        raise PictureUnreadable(picture.path.name, error) from error


def _encoded(file: BinaryIO, picture: Picture) -> Iterator[bytes]:
    left = picture.bytes
    while left:
        chunk = file.read(min(CHUNK_BYTES, left))
        if len(chunk) < min(CHUNK_BYTES, left):
            raise _changed(picture, "shorter")
        left -= len(chunk)
        if not left and file.read(1):
            raise _changed(picture, "longer")
        yield pybase64.b64encode(chunk)
    if not picture.bytes and file.read(1):
        raise _changed(picture, "longer")


def _changed(picture: Picture, how: str) -> PictureMissing:
    return PictureMissing(
        f"picture {picture.path.name} is {how} than the {picture.bytes} bytes it was stored with; "
        "store it again, then retry the job"
    )

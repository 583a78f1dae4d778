"""Pictures that a program holds in memory: a request takes them, the store has them, and nothing else shows them."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from pydantic import ValidationError

from jobs.errors import InvalidRequest
from jobs.pictures import in_memory
from jobs.pictures.images import ImageStore
from jobs.pictures.in_memory import ImageSource
from jobs.request import BlendRequest


def png(mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.effect_noise((9, 7), 90).convert(mode).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images", max_bytes=1 << 20, max_pixels=1 << 20)


def stored(store: ImageStore, source: ImageSource) -> bytes:
    """What comes to the API of it."""
    (text, _) = BlendRequest(images=[source, "b.png"]).images
    return store.put_data_url(text, name="a").path.read_bytes()


class Slow(io.RawIOBase):
    """Gives a byte at a time, as a pipe may, from where it stands; and counts them."""

    def __init__(self, data: bytes) -> None:
        self.data, self.given = data, 0

    def read(self, size: int = -1, /) -> bytes:
        piece = self.data[self.given : self.given + 1]
        self.given += len(piece)
        return piece


def test_bytes_and_files_are_stored_as_they_are(store: ImageStore, tmp_path: Path) -> None:
    data = png()
    (tmp_path / "a.png").write_bytes(b"before it" + data)
    every_second = memoryview(b"".join(bytes([byte, 0]) for byte in data))[::2]
    for source in (data, bytearray(data), memoryview(data), every_second, io.BytesIO(data), Slow(data)):
        assert stored(store, source) == data, type(source)
    with (tmp_path / "a.png").open("rb") as file:
        file.seek(len(b"before it"))
        assert stored(store, file) == data
        assert not file.closed


def test_a_path_is_read_when_it_is_enqueued(tmp_path: Path) -> None:
    assert BlendRequest(images=[tmp_path / "a.png", "b.png"]).images == (str(tmp_path / "a.png"), "b.png")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "I;16", "CMYK", "F", "YCbCr"])
def test_a_pil_image_is_stored_with_the_same_pixels(store: ImageStore, mode: str) -> None:
    image = Image.effect_noise((9, 7), 90).convert("L" if mode == "I;16" else mode)
    image = Image.new(mode, (9, 7), 7) if mode == "I;16" else image
    with Image.open(io.BytesIO(stored(store, image))) as found:
        assert found.format == "PNG"
        assert found.convert("RGB").tobytes() == image.convert("RGB").tobytes()


def test_what_is_too_large_or_no_picture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_memory, "MAX_BYTES", 100)
    endless = Slow(b"x" * 1000)
    closed = io.BytesIO()
    closed.close()
    bad: list[tuple[object, str]] = [
        (b"x" * 101, "over the limit of 100 bytes; give its file"),
        (memoryview(bytes(160)).cast("I"), "over the limit of 100 bytes"),
        (endless, "over the limit of 100 bytes"),
        (io.StringIO("text"), "open it with mode 'rb'"),
        (closed, "closed file"),
        (17, "must be text"),
        (None, "must be text"),
    ]
    for source, words in bad:
        with pytest.raises(InvalidRequest, match=words):
            BlendRequest.parse({"images": [source, "b.png"]})
    assert endless.given == 101


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file, pytest.raises(InvalidRequest, match="cannot be read"):
        BlendRequest.parse({"images": [file, "b.png"]})
    broken = Image.open(io.BytesIO(png()[:-40]))
    with pytest.raises(InvalidRequest, match="PIL image cannot be read"):
        BlendRequest.parse({"images": [broken, "b.png"]})


def test_no_picture_is_shown(store: ImageStore) -> None:
    """I8: neither by a request, nor by an error about it."""
    secret = b"SECRETPICTURE" * 10
    request = BlendRequest(images=[secret, secret])
    assert "base64,…" in repr(request)
    with pytest.raises(ValidationError) as caught:
        BlendRequest(images=[secret])
    texts = (repr(request), str(request), str(caught.value), repr(caught.value))
    assert not any("SECRET" in text or "U0VDUkVU" in text for text in texts)


def test_pillow_is_not_loaded_for_who_has_no_such_image() -> None:
    program = (
        "import sys; from jobs.request import BlendRequest; BlendRequest(images=[b'a', 'b']); "
        "sys.exit('PIL' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

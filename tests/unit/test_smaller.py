"""Pictures made smaller before they are sent: upright, once for ever the same, and never over the limit."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import producer.smaller
from jobs.errors import RowProblem
from jobs.net.download import Downloads
from jobs.pictures.images import ImageStore, StoredImage
from jobs.request import BlendRequest
from producer.manifests.manifest import Row
from producer.pictures import Pictures
from producer.smaller import Fit, Format


@pytest.fixture
def images(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "data" / "images", max_bytes=20_000, max_pixels=1_000_000)


def drawn(path: Path, size: tuple[int, int] = (400, 200), mode: str = "RGB", **options: Any) -> Path:
    picture = Image.new(mode, size, (0, 0, 255, 0)[: len(mode)])
    picture.paste((255, 0, 0, 255)[: len(mode)], (0, 0, size[0] // 2, size[1]))
    picture.save(path, **options)
    return path


def sent(images: ImageStore, path: Path, fit: Fit | None) -> StoredImage:
    (row,) = Pictures(images, Downloads(1), fit=fit).prepare([Row(1, BlendRequest(images=(str(path), str(path))))])
    assert isinstance(row, Row), row
    found = images.find(row.request.images[0])
    assert found
    return found


def test_one_over_pillows_own_limit_becomes_smaller(
    images: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400 * 200 // 3)
    assert sent(images, drawn(tmp_path / "a.png"), Fit(max_side=100)).width == 100


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_larger_one_becomes_smaller_and_the_file_stays(images: ImageStore, tmp_path: Path, kind: str) -> None:
    path = drawn(tmp_path / f"a.{kind}")
    before = path.read_bytes()
    made = sent(images, path, Fit(max_side=100))
    assert (made.width, made.height, made.media_type) == (100, 50, f"image/{kind}")
    assert path.read_bytes() == before


def test_one_that_fits_is_sent_as_it_is(images: ImageStore, tmp_path: Path) -> None:
    path = drawn(tmp_path / "a.png")
    assert (
        sent(images, path, Fit(max_side=400)) == sent(images, path, None) == sent(images, path, Fit(None, Format.PNG))
    )


def test_a_cameras_orientation_is_honoured(images: ImageStore, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right: the red half comes up
    path = drawn(tmp_path / "a.jpg", exif=exif, quality=95)
    for fit in (Fit(max_side=100), Fit(max_side=1000)):
        with Image.open(sent(images, path, fit).path) as made:
            assert made.height == 2 * made.width
            red, blue = (made.convert("RGB").getpixel((made.width // 2, y)) for y in (5, made.height - 5))
            assert isinstance(red, tuple)
            assert isinstance(blue, tuple)
            assert red[0] > 200 > 50 > red[2]
            assert blue[2] > 200 > 50 > blue[0]
            assert not made.getexif()


def test_what_is_transparent_is_white_in_a_jpeg(images: ImageStore, tmp_path: Path) -> None:
    made = sent(images, drawn(tmp_path / "a.png", mode="RGBA"), Fit(None, Format.JPEG))
    assert made.media_type == "image/jpeg"
    with Image.open(made.path) as picture:
        assert min(picture.getpixel((390, 100))) > 250  # type: ignore[arg-type]


def test_a_gif_becomes_a_png(images: ImageStore, tmp_path: Path) -> None:
    assert sent(images, drawn(tmp_path / "a.gif"), Fit(max_side=50)).media_type == "image/png"


def test_a_large_file_may_become_a_small_one(images: ImageStore, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.effect_noise((300, 300), 90).save(path)
    assert path.stat().st_size > images.max_bytes
    assert sent(images, path, Fit(max_side=60)).bytes < images.max_bytes
    (row,) = Pictures(images, Downloads(1), fit=Fit(max_side=300)).prepare(
        [Row(1, BlendRequest(images=(str(path),) * 2))]
    )
    assert row == RowProblem(
        1, f"{path}: is over the limit of 20,000 bytes; make it smaller, or raise BLENDQ_MAX_IMAGE_BYTES"
    ), "what is sent keeps the limit"


def test_another_pillow_changes_no_job(images: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = drawn(tmp_path / "a.jpg")
    first = sent(images, path, Fit(max_side=100))
    monkeypatch.setattr(producer.smaller, "QUALITY", 20)
    assert sent(images, path, Fit(max_side=100)) == first
    first.path.unlink()
    assert sent(images, path, Fit(max_side=100)) != first, "made anew where it is gone"


def test_a_data_url_is_made_smaller_too(images: ImageStore, tmp_path: Path) -> None:
    url = "data:image/png;base64," + base64.b64encode(drawn(tmp_path / "a.png").read_bytes()).decode()
    (row,) = Pictures(images, Downloads(1), fit=Fit(max_side=40)).prepare([Row(1, BlendRequest(images=(url, url)))])
    assert isinstance(row, Row)
    with images.open(row.request.images[0]) as file, Image.open(io.BytesIO(file.read())) as made:
        assert made.size == (40, 20)

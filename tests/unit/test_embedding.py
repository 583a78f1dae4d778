"""Pictures that say where they come from: not a pixel changes, and every reader still reads them."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from jobs.job import Job, Status
from jobs.request import BlendRequest
from producer.results.embedding import embed, embedded, origin
from tests.unit.lifecycle_world import new_job

FACTS = {"job": "job_1", "custom_id": 'é"<&>\u2028 😀', "images": ["a.png", "b.png"]}
KINDS: list[tuple[str, str, dict[str, Any]]] = [
    ("png", "RGB", {}),
    ("png", "RGBA", {}),
    ("png", "P", {"optimize": True}),
    ("webp", "RGB", {"quality": 80}),
    ("webp", "RGBA", {"quality": 80}),
    ("webp", "RGB", {"lossless": True}),
    ("webp", "RGBA", {"lossless": True}),
    ("webp", "RGB", {"lossless": True, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0", "xmp": b"<old/>"}),
    ("jpeg", "RGB", {}),
    ("jpeg", "L", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0", "comment": b"mine"}),
]


def picture(form: str, mode: str, options: dict[str, Any], size: tuple[int, int] = (37, 22)) -> bytes:
    file = io.BytesIO()
    made = Image.effect_noise(size, 90).convert(mode)
    if mode == "RGBA":
        made.putalpha(Image.effect_noise(size, 90))
    made.save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_it_is_read_again_and_no_pixel_changes(tmp_path: Path, kind: tuple[str, str, dict[str, Any]]) -> None:
    original = picture(*kind)
    path = tmp_path / f"x.{kind[0]}"
    path.write_bytes(made := embed(original, f"image/{kind[0]}", FACTS))
    assert made != original
    assert embedded(path) == FACTS
    with Image.open(io.BytesIO(original)) as before, Image.open(path) as after:
        assert (after.format, after.size, after.mode) == (before.format, before.size, before.mode)
        assert after.tobytes() == before.tobytes()
        assert after.info.get("exif") == before.info.get("exif")
    assert embed(original, f"image/{kind[0]}", FACTS) == made, "an export that is made again finds it unchanged"


@pytest.mark.parametrize("form", ["png", "webp"])
def test_the_encoded_picture_is_copied_as_it_is(form: str) -> None:
    original = picture(form, "RGB", {})
    made = embed(original, f"image/{form}", FACTS)
    data = original[original.index(b"IDAT") :] if form == "png" else original[12:]
    assert data in made


@pytest.mark.parametrize("form", ["png", "webp"])
def test_a_blend_that_is_blended_again_says_the_last(tmp_path: Path, form: str) -> None:
    once = embed(picture(form, "RGB", {}), f"image/{form}", {"job": "job_old"})
    (tmp_path / "x").write_bytes(again := embed(once, f"image/{form}", FACTS))
    assert embedded(tmp_path / "x") == FACTS
    assert b"job_old" not in again


@settings(max_examples=40)
@given(width=st.integers(1, 70), height=st.integers(1, 70), lossless=st.booleans())
def test_the_head_of_a_webp_knows_its_size(width: int, height: int, lossless: bool) -> None:
    data = embed(picture("webp", "RGB", {"lossless": lossless}, (width, height)), "image/webp", FACTS)
    assert len(data) % 2 == 0
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    with Image.open(io.BytesIO(data)) as made:
        made.load()
        assert made.size == (width, height)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_head_of_a_webp_says_whether_it_is_transparent(mode: str) -> None:
    original = picture("webp", mode, {"lossless": True})
    assert original[12:16] == b"VP8L", "a file of one chunk, which says so itself"
    head = embed(original, "image/webp", FACTS)[12:21]
    assert head[:4] == b"VP8X"
    assert bool(head[8] & 0x10) is (mode == "RGBA")  # RFC 9649, 2.7


def test_other_kinds_stay_as_they_are() -> None:
    gif = picture("gif", "P", {})
    assert embed(gif, "image/gif", FACTS) == gif
    assert features.check("webp")


@given(st.binary(max_size=60), st.sampled_from(["image/png", "image/webp", "image/jpeg"]))
def test_what_is_built_oddly_does_no_harm(tail: bytes, media_type: str) -> None:
    heads = {"image/png": b"\x89PNG\r\n\x1a\n", "image/webp": b"RIFF\x40\0\0\0WEBP", "image/jpeg": b"\xff\xd8"}
    assert embed(heads[media_type] + tail, media_type, FACTS)


@pytest.mark.parametrize("content", [b"", b"no picture", picture("png", "RGB", {}), picture("jpeg", "RGB", {})])
def test_what_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    assert embedded(tmp_path / "x.png") is None


def test_it_says_names_and_options_and_no_secret() -> None:
    job: Job = new_job(status=Status.SUCCEEDED, finished_at=datetime(2030, 1, 1, tzinfo=UTC), campaign="spring")
    job = job.but(
        request=job.request.model_copy(
            update={"instance_id": "7", "upstream": "spare", "notify_hook": "https://hook.test/t"}
        )
    )
    asked = BlendRequest(
        images=("/home/ann/a.png", "https://x.test/b.png?token=sesame", "data:image/png;base64,AAAA"), custom_id="mine"
    )
    told = origin(job, asked)
    assert told == {
        "job": "job_1",
        "campaign": "spring",
        "custom_id": "mine",
        "images": ["a.png", "https://x.test/b.png?token=***", "data:image/png;base64,… (26 characters)"],
        "options": {"bot_type": "MID_JOURNEY", "dimensions": "SQUARE", "instance_id": "7", "upstream": "spare"},
        "finished_at": "2030-01-01T00:00:00.000Z",
    }

"""How the sandbox reads a submission, and the picture that it makes of it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ops.sandbox import pictures
from ops.sandbox.pictures import BadPicture, PictureSpec
from ops.sandbox.submission import Blend, Refused, Unreadable, read_blend


def png(color: str, size: tuple[int, int] = (40, 30)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, "PNG")
    return out.getvalue()


def data_url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


RED, BLUE = png("red"), png("blue")


def body(**changes: Any) -> bytes:
    return json.dumps({"base64Array": [data_url(RED), data_url(BLUE)]} | changes).encode()


def read(**changes: Any) -> Blend:
    return read_blend(body(**changes), drop_account_filter=False)


def test_the_inputs_are_named_by_the_very_bytes() -> None:
    blend = read()
    assert blend.inputs == (hashlib.sha256(RED).hexdigest(), hashlib.sha256(BLUE).hexdigest())
    assert (blend.dimensions, blend.bot_type, blend.state, blend.notify_hook) == (
        "SQUARE",
        "MID_JOURNEY",
        None,
        None,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"base64Array": None},
        {"base64Array": []},
        {"base64Array": [data_url(RED)]},
        {"base64Array": [data_url(RED)] * 6},
        {"base64Array": [data_url(RED), "not a data url"]},
        {"base64Array": [data_url(RED), "data:image/png;base64,@@@"]},
        {"base64Array": [data_url(RED), "data:image/png;base64,"]},
        {"base64Array": [data_url(RED), 7]},
        {"dimensions": None},
        {"dimensions": "ROUND"},
        {"botType": "ROBOT"},
        {"state": "x" * 256},
        {"state": 7},
        {"notifyHook": "http://h/" + "x" * 2000},
        {"modes": ["SLOW"]},
        {"remix": "yes"},
        {"instanceId": 7},
        {"accountFilter": "all"},
    ],
)
def test_a_wrong_field_is_code_4(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        read(**changes)
    assert refused.value.code == 4


def test_the_limits_themselves_are_allowed() -> None:
    hook = "http://h/" + "x" * 1991
    blend = read(state="x" * 255, notifyHook=hook, base64Array=[data_url(RED)] * 5)
    assert (len(blend.state or ""), len(blend.notify_hook or ""), len(blend.inputs)) == (255, 2000, 5)


@given(st.binary(max_size=60))
def test_what_is_no_json_object_is_unreadable(content: bytes) -> None:
    try:
        is_object = isinstance(json.loads(content), dict)
    except (ValueError, RecursionError):
        is_object = False
    with pytest.raises(Refused if is_object else Unreadable):
        read_blend(content, drop_account_filter=False)


def test_filters_come_flat_or_in_the_older_object_and_gateways_drop_only_the_object() -> None:
    flat = {"instanceId": "7", "modes": ["FAST"], "remix": True, "remixAutoConsidered": False}
    assert read(**flat).filters == flat
    assert read(accountFilter=flat | {"remark": "x"}).filters == flat
    assert read_blend(body(accountFilter=flat), drop_account_filter=True).filters == {}


def test_equal_content_has_one_key_whoever_asks() -> None:
    assert read(state="a", notifyHook="http://h/a").content_key == read(state="b").content_key
    assert read(dimensions="PORTRAIT").content_key != read().content_key
    assert read(base64Array=[data_url(BLUE), data_url(RED)]).content_key != read().content_key


class TestPictures:
    @pytest.mark.parametrize(("dimensions", "ratio"), [("PORTRAIT", 2 / 3), ("SQUARE", 1.0), ("LANDSCAPE", 3 / 2)])
    def test_ratio_and_origin(self, dimensions: str, ratio: float) -> None:
        spec = PictureSpec(("digest-a", "digest-b"), dimensions)
        made = Image.open(io.BytesIO(pictures.render(spec, [RED, BLUE])))
        assert made.width / made.height == pytest.approx(ratio)
        assert max(made.size) in range(500, 513)
        assert getattr(made, "text") == {"blendq-sandbox-inputs": "digest-a,digest-b"}  # noqa: B009

    def test_shrunk_it_is_the_same_kind_of_picture(self) -> None:
        made = Image.open(io.BytesIO(pictures.render(PictureSpec(("a", "b"), "SQUARE"), [RED, BLUE], shrink=4)))
        assert made.size == (128, 128)
        assert getattr(made, "text") == {"blendq-sandbox-inputs": "a,b"}  # noqa: B009

    def test_it_is_made_of_the_inputs_and_always_the_same(self) -> None:
        spec = PictureSpec(("a", "b"), "SQUARE")
        first = pictures.render(spec, [RED, BLUE])
        assert first == pictures.render(spec, [RED, BLUE])
        assert first != pictures.render(spec, [RED, png("green")])
        even = Image.open(io.BytesIO(first)).convert("RGB").getpixel((10, 10))
        assert even == (127, 0, 127)

    def test_four_variants_differ_and_each_can_be_had_alone(self) -> None:
        spec = PictureSpec(("a", "b"), "LANDSCAPE")
        grid = Image.open(io.BytesIO(pictures.render(spec, [RED, BLUE]))).convert("RGB")
        width, height = grid.width // 2, grid.height // 2
        cells = set()
        for quadrant in range(1, 5):
            left, top = ((quadrant - 1) % 2) * width, ((quadrant - 1) // 2) * height
            cell = grid.crop((left, top, left + width, top + height))
            alone = Image.open(io.BytesIO(pictures.render(spec.variant(quadrant), [RED, BLUE])))
            assert alone.convert("RGB").tobytes() == cell.tobytes()
            cells.add(cell.tobytes())
        assert len(cells) == 4

    def test_another_take_is_another_picture(self) -> None:
        spec = PictureSpec(("a", "b"), "SQUARE")
        first = pictures.render(spec, [RED, BLUE])
        assert pictures.render(spec.another_take(1), [RED, BLUE]) != first
        assert spec.another_take(1).digest() != spec.digest()

    @pytest.mark.parametrize("content", [b"", b"no picture", RED[:50], b"\x89PNG\r\n\x1a\n"])
    def test_bytes_that_are_no_picture(self, content: bytes) -> None:
        with pytest.raises(BadPicture):
            pictures.check(content)

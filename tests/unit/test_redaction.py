"""I8: what is taken out of the words of servers, which may repeat all that they were told."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from PIL import Image

from jobs.report import shown_link
from worker.proxy.answers import Accepted, RawAnswer, decide
from worker.proxy.lookups import CannotTell, Found
from worker.proxy.redaction import Redaction
from worker.proxy.task import parse_task
from worker.proxy.wire import clean

KEY = "sk-Key/of+ours<4Tq9=="


def _spellings() -> Iterator[str]:
    data = KEY.encode()
    yield from (KEY, KEY.upper(), KEY[:-6], KEY[5:], quote(KEY, safe=""), quote(KEY, safe="").lower(), data.hex())
    yield from (html.escape(KEY), KEY.replace("/", "\\/"), f"{KEY}{KEY}", f"Bearer {KEY}")
    for before in ("", "x", "xy"):
        yield base64.b64encode(f"{before}{KEY}".encode()).decode()
        yield base64.urlsafe_b64encode(f"{before}{KEY}--".encode()).decode()


@pytest.mark.parametrize("said", list(_spellings()))
def test_a_server_that_repeats_the_key_does_not_bring_it_into_the_record(said: str) -> None:
    """I8. Whole, cut, encoded: no run of it that stands for eight characters is left."""
    for status, body in (
        (401, {"error": {"message": f"no such key {said}, sorry"}}),
        (200, {"code": 9, "description": f"no such key {said}, sorry"}),
        (200, {"code": 1, "description": f"no such key {said}, sorry", "result": "7"}),
    ):
        kept = Redaction(KEY).apply(decide(RawAnswer(status, {}, json.dumps(body).encode())))
        assert "no such key " in repr(kept)
        assert "sorry" in repr(kept)
        assert not [said[at : at + 12] for at in range(len(said) - 11) if said[at : at + 12] in repr(kept)]


def test_a_key_in_a_task_is_hidden_and_honest_words_are_not() -> None:
    words = "no such key; the task of job_4tjq at sk failed: timeout"
    redaction = Redaction(KEY)
    assert redaction.hide(words) == words
    assert redaction.hide(f"a {KEY} b {KEY}") == "a [key] b [key]"
    view = parse_task({"id": "7", "failReason": quote(KEY, safe="")})
    assert view is not None
    assert redaction.apply(Found(view)).task.fail_reason == "[key]"
    assert redaction.apply({"7": view})["7"].fail_reason == "[key]"
    assert redaction.apply(CannotTell(f"refused {KEY}")).message == "refused [key]"


def test_an_id_that_contains_the_key_stays_an_id() -> None:
    assert Redaction("sandbox").apply(Accepted("sandbox-7")) == Accepted("sandbox-7")


def test_a_key_too_short_to_tell_from_words_is_not_looked_for() -> None:
    assert Redaction("abc").hide("abc") == "abc"
    assert Redaction("").hide("abc") == "abc"


def test_the_proof_in_a_hook_and_a_key_are_no_words() -> None:
    """I8. The receiver does not know the API key, so what it hears is searched for what looks like one."""
    proof = "A-b_" * 10 + "xyz"
    assert clean(f"cannot call back {proof}!") == "cannot call back [data]!"
    assert clean("your key sk-4Tq9Zw7Lm2 is blocked") == "your key [key] is blocked"


def test_raw_bytes_of_a_picture_are_no_words() -> None:
    """I8."""
    out = io.BytesIO()
    Image.effect_noise((40, 40), 80).save(out, "PNG")
    for text in (out.getvalue().decode("latin-1"), out.getvalue().decode("utf-8", "replace")):
        assert clean("bad picture: " + text) == "bad picture: [data]"
    assert clean("\x1b[31mfailed\x1b[0m: " * 8).count("failed") == 8, "colours are no bytes"


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        (None, None),
        ("https://cdn.example/a.png?ex=1&hm=2", "https://cdn.example/a.png?ex=1&hm=2"),
        (
            "https://cdn.example/a.png?w=1&api_key=abc&Mj%2DSecret=x",
            "https://cdn.example/a.png?w=1&api_key=***&Mj%2DSecret=***",
        ),
        ("https://me:pass@cdn.example/a.png#token=abc", "https://cdn.example/a.png"),
        ("https://[broken/a.png", "***"),
    ],
)
def test_a_link_is_shown_without_what_it_may_carry(link: str | None, shown: str | None) -> None:
    assert shown_link(link) == shown

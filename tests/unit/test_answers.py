"""The verdict table: every combination of HTTP status, code, description and shape of result.

Proves the part of I2 that hangs on reading: only an answer that proves refusal is a refusal.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.proxy.answers import (
    Accepted,
    Exists,
    Queued,
    RawAnswer,
    Refusal,
    Refused,
    Unsure,
    Verdict,
    decide,
)
from worker.proxy.wire import MAX_WORDS_CHARACTERS, clean, task_id

ABSENT = object()
MANY_DIGITS = 1320098173412546


def answer(status: int = 200, body: object = b"", truncated: bool = False, **headers: str) -> RawAnswer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return RawAnswer(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw, truncated)


def reply(
    code: object, description: object = "words", result: object = None, properties: object = None
) -> dict[str, Any]:
    fields = {"code": code, "description": description, "result": result, "properties": properties}
    return {name: value for name, value in fields.items() if value is not ABSENT}


def verdict_name(verdict: Verdict) -> str:
    """One word for a verdict, so that a table can hold it."""
    match verdict:
        case Accepted(name) | Exists(name):
            return f"{type(verdict).__name__} {name}"
        case Queued(name, position):
            return f"Queued {name} {position}"
        case Refused(kind):
            return f"Refused {kind}"
        case Unsure():
            return "Unsure"


# The shapes that `result` takes, and the id each stands for.
RESULTS: list[tuple[object, str | None]] = [
    ("1320098173412546", "1320098173412546"),
    (MANY_DIGITS, "1320098173412546"),
    (float(MANY_DIGITS), "1320098173412546"),
    (" 7 ", "7"),
    ("a" * 200, "a" * 200),
    (None, None),
    (ABSENT, None),
    ("", None),
    ("  ", None),
    (0, None),
    (False, None),
    ([], None),
    ({}, None),
]
# Something stands there, but no id can be read from it.
UNREADABLE: list[object] = ["a" * 201, "a\nb", "\ud800", {"id": "7"}, ["7"], True, -1, 1.5, 2.0**60]
PROPERTIES: list[object] = [{}, None, ABSENT, "words", [1], {"status": "SUBMITTED"}]
DESCRIPTIONS: list[object] = ["提交成功", "", None, ABSENT, 7, ["x"]]


@pytest.mark.parametrize("status", [200, 201, 400, 404, 418, 500, 502])
@pytest.mark.parametrize("code", [1, 21, 22, "1", "21", "22"])
def test_a_known_code_with_an_id_decides_whatever_the_status_and_the_shape(status: int, code: int | str) -> None:
    """I2."""
    names = {1: "Accepted {}", 21: "Exists {}", 22: "Queued {} None"}
    for (result, name), properties, description in product(RESULTS, PROPERTIES, DESCRIPTIONS):
        verdict = decide(answer(status, reply(code, description, result, properties)))
        if name is None and int(code) != 22:
            assert verdict_name(verdict) == "Unsure", (result, properties, description)
        else:
            assert verdict_name(verdict) == names[int(code)].format(name), (result, properties, description)
        assert verdict.code == int(code)
        assert verdict.description == (description if isinstance(description, str) else "")


@pytest.mark.parametrize("code", [1, 21, 22])
@pytest.mark.parametrize("result", UNREADABLE, ids=repr)
def test_an_id_that_cannot_be_read_is_never_a_licence_to_submit_again(code: int, result: object) -> None:
    """I2: something stands where the id belongs, so it was taken."""
    assert verdict_name(decide(answer(body=reply(code, result=result)))) == "Unsure"


@pytest.mark.parametrize(
    ("queues", "position"),
    [(0, 0), (12, 12), ("12", 12), (3.0, 3), (None, None), (-1, None), ("many", None), (True, None), ([], None)],
)
def test_the_position_in_the_queue(queues: object, position: int | None) -> None:
    verdict = decide(answer(body=reply(22, result="7", properties={"numberOfQueues": queues})))
    assert verdict == Queued("7", position, 22, "words")


CODES: list[tuple[object, str, str]] = [
    (23, "队列已满，请稍后尝试", "Refused no_room"),
    (9, "提交失败，队列已满", "Refused no_room"),
    (9, "", "Unsure"),
    (9, "系统异常", "Unsure"),
    (3, "无可用的账号实例", "Refused no_account"),
    (24, "可能包含敏感词", "Refused moderated"),
    (4, "base64Array参数错误", "Refused invalid"),
    (4, "", "Refused invalid"),
    (4, "quota_not_enough", "Refused quota"),
    (4, "quota_not_enough 用户额度不足", "Refused quota"),
    (4, "insert_midjourney_task_failed", "Unsure"),
    (4, "insert_midjourney_task_failed duplicate key", "Unsure"),
    (4, "do_request_failed", "Unsure"),
    (4, "close_request_body_failed", "Unsure"),
    (4, "read_response_body_failed", "Unsure"),
    (4, "unmarshal_response_body_failed", "Unsure"),
    (4, "fail_to_fetch_midjourney status_code: 502", "Unsure"),
    (4, "persist_midjourney_billing_failed", "Unsure"),
    (4, "bind_request_body_failed", "Refused invalid"),
    (4, "create_request_failed", "Refused invalid"),
    (4, "task_no_found", "Refused no_parent"),
    (3, "关联任务不存在或已失效", "Refused no_parent"),
    (5, "do_request_failed", "Unsure"),
    (5, "unmarshal_response_body_failed", "Unsure"),
    ("23", "", "Refused no_room"),
]
STATUSES = {
    401: "Refused key",
    403: "Refused key",
    429: "Refused no_room",
}


@pytest.mark.parametrize(("code", "description", "expected"), CODES)
@pytest.mark.parametrize("status", [200, 201, 301, 307, 400, 401, 402, 403, 404, 408, 413, 418, 429, 500, 502, 503])
def test_the_refusing_and_doubtful_codes(status: int, code: object, description: str, expected: str) -> None:
    for (result, _), properties in product(RESULTS, PROPERTIES):
        verdict = decide(answer(status, reply(code, description, result, properties)))
        assert verdict_name(verdict) == STATUSES.get(status, expected), (result, properties)
        assert (verdict.code, verdict.description) == (int(str(code)), description)


NO_CODE: list[object] = [
    b"",
    b"null",
    b"[]",
    b"7",
    b'"1"',
    b"{}",
    b"<html><title>502 Bad Gateway</title></html>",
    b"Bad Gateway",
    b"\xff\xfe\x00",
    b'{"code":1,"result":"7"',
    b'{"code":' + b"1" * 5000 + b"}",
    b"[" * 100_000,
    {"error": {"message": "no", "type": "new_api_error", "code": ""}},
    {"error": "no"},
    {"error": []},
    reply(999, result="7"),
    reply(0, result="7"),
    reply(-1, result="7"),
    reply(None, result="7"),
    reply(True, result="7"),
    reply(1.0, result="7"),
    reply(1.5, result="7"),
    reply("one", result="7"),
    reply("1.0", result="7"),
    reply("", result="7"),
    reply([1], result="7"),
    reply({"code": 1}, result="7"),
    reply(10**30, result="7"),
]
BY_STATUS = STATUSES | {
    400: "Refused invalid",
    402: "Refused quota",
    404: "Refused wrong_address",
    405: "Refused wrong_address",
    413: "Refused invalid",
    415: "Refused invalid",
    422: "Refused invalid",
    301: "Refused wrong_address",
    302: "Refused wrong_address",
    304: "Refused wrong_address",
    307: "Refused wrong_address",
    308: "Refused wrong_address",
}
DOUBTFUL = dict.fromkeys(
    (200, 201, 202, 204, 408, 409, 410, 418, 499, 500, 501, 502, 503, 504, 520, 524, 999), "Unsure"
)


@pytest.mark.parametrize(("status", "expected"), sorted((BY_STATUS | DOUBTFUL).items()))
def test_without_a_known_code_the_status_decides(status: int, expected: str) -> None:
    for body in NO_CODE:
        assert verdict_name(decide(answer(status, body))) == expected, body


@pytest.mark.parametrize(("status", "expected"), sorted((BY_STATUS | DOUBTFUL).items()))
def test_a_cut_body_is_unsure_unless_the_status_alone_refuses(status: int, expected: str) -> None:
    verdict = decide(answer(status, reply(1, result="7"), truncated=True))
    assert verdict_name(verdict) == (expected if status in (401, 403, 404, 429) else "Unsure")


def test_the_status_goes_before_an_accepting_body() -> None:
    assert verdict_name(decide(answer(403, reply(1, result="7")))) == "Refused key"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "Invalid URL (POST /mj)"}}, "Invalid URL (POST /mj)"),
        ({"error": "Not Found", "status": 404}, "Not Found"),
        ({"message": "no Route matched"}, "no Route matched"),
        ({"description": "first", "error": {"message": "second"}}, "first"),
        (b"<html><head><title>502 Bad Gateway</title></head><body><h1>x</h1>", "502 Bad Gateway"),
        (b"<p>upstream <b>gone</b></p>", "upstream gone"),
        (b"upstream gone\n", "upstream gone"),
    ],
)
def test_the_words_of_other_bodies(body: object, words: str) -> None:
    for status in (404, 502):
        verdict = decide(answer(status, body))
        assert isinstance(verdict, Refused | Unsure)
        assert verdict.description == words
        assert words in verdict.message


def test_a_moderated_answer_names_the_banned_word() -> None:
    verdict = decide(answer(body=reply(24, "可能包含敏感词", properties={"bannedWord": "gore"})))
    assert isinstance(verdict, Refused)
    assert "gore" in verdict.message


def test_a_redirect_says_where_it_points_without_its_query() -> None:
    verdict = decide(answer(307, location="https://other.example/mj?token=hidden"))
    assert isinstance(verdict, Refused)
    assert "https://other.example/mj" in verdict.message
    assert "hidden" not in verdict.message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "17"}, 17.0),
        ({"Retry_After": " 0 "}, 0.0),
        ({"retry_after": "99999"}, 3600.0),
        ({"retry_after": "9" * 400}, None),
        ({"retry_after": "-5"}, None),
        ({"retry_after": "1.5"}, None),
        ({"retry_after": "٣"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": ""}, None),
        ({}, None),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry_after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0),
        ({"retry_after": "Wed, 21 Oct 2099 07:27:00 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 3600.0),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:30 GMT"}, 60.0),
        ({"retry_after": "Wed, 99 Oct 2026 07:28:30 GMT"}, None),
    ],
)
def test_retry_after_in_both_forms(headers: dict[str, str], seconds: float | None) -> None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    received = datetime(2026, 10, 21, 7, 27, 30, tzinfo=UTC)
    verdict = decide(RawAnswer(429, named, b"", received_at=received))
    assert isinstance(verdict, Refused)
    assert verdict.retry_after_seconds == seconds


BASE64 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk" * 4


@pytest.mark.parametrize(
    "text",
    [
        f"bad image data:image/png;base64,{BASE64}== in request",
        f"bad image DATA:image/png;base64,{BASE64[:20]}",
        f"bad image data:;base64, {BASE64}",
        f"bad image {BASE64}",
        f"bad image {BASE64[:76]}\n{BASE64[:76]}\n{BASE64[:10]}==",
        "bad image data:image/png;base64",
        f'bad image ["data:image/png;base64,{BASE64}","data:image/webp;base64,{BASE64}"]',
        f"bad image {BASE64 * 5000}",
    ],
)
def test_no_picture_data_in_the_words(text: str) -> None:
    """I8."""
    words = clean(text)
    assert words.startswith("bad image ")
    assert "data:" not in words.lower()
    assert BASE64[:10] not in words
    for status, body in ((200, reply(9, text)), (500, text.encode()), (400, {"error": {"message": text}})):
        verdict = decide(answer(status, body))
        assert isinstance(verdict, Refused | Unsure)
        assert BASE64[:10] not in verdict.message + verdict.description


@pytest.mark.parametrize(
    "text",
    [
        "invalid data: the picture",
        "insert_midjourney_task_failed",
        "任务超时",
        "task 1320098173412546 of 0b0e2b1c-6f0e-4a55-9d0e-0d8b8f1d7a11 🙂",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert clean(text) == text


@pytest.mark.no_cover
@given(st.text())
def test_clean_words_fit_a_line_and_a_record(text: str) -> None:
    words = clean(text)
    assert words.isprintable()
    assert len(words) <= MAX_WORDS_CHARACTERS
    assert words.encode().decode() == words


def test_long_words_are_cut() -> None:
    assert clean("word " * 200) == ("word " * 200)[: MAX_WORDS_CHARACTERS - 1] + "…"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
CODE = st.sampled_from([1, 21, 22, 3, 4, 5, 9, 23, 24, "1", "22", 1.0, True, None]) | JSON
REPLIES = st.fixed_dictionaries(
    {"code": CODE}, optional={"description": JSON, "result": JSON, "properties": JSON, "error": JSON, "message": JSON}
).map(lambda value: json.dumps(value).encode())
BODIES = st.binary() | REPLIES | JSON.map(lambda value: json.dumps(value).encode())
HEADERS = st.dictionaries(st.sampled_from(["retry-after", "Date", "Location", "x"]), st.text(), max_size=3)


@given(st.integers(100, 999), HEADERS, BODIES, st.booleans())
def test_nothing_raises_and_only_an_accepting_code_with_an_id_accepts(
    status: int, headers: dict[str, str], body: bytes, truncated: bool
) -> None:
    """I2."""
    verdict = decide(RawAnswer(status, headers, body, truncated))
    if isinstance(verdict, Accepted | Exists | Queued):
        data = json.loads(body)
        accepting = {Accepted: 1, Exists: 21, Queued: 22}[type(verdict)]
        assert not truncated
        assert str(data["code"]) == str(accepting)
        assert verdict.task_id == task_id(data.get("result"))
        assert verdict.task_id is not None or isinstance(verdict, Queued)
    if isinstance(verdict, Refused):
        assert verdict.kind in Refusal
        assert verdict.message.isprintable()

"""The task JSON: unknown fields are ignored, unknown statuses and odd values do not crash."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.attempt import TaskStatus
from worker.proxy import lookups
from worker.proxy.lookups import Cancelled, CannotTell, Found, NoSuchCall, NotCancelled, Unknown
from worker.proxy.reply import RawAnswer
from worker.proxy.task import Button, FailureClass, TaskView, classify_failure, parse_task


def task(**fields: object) -> TaskView:
    view = parse_task({"id": "7"} | fields)
    assert view is not None
    return view


def test_a_whole_task() -> None:
    assert task(
        action="BLEND",
        status="SUCCESS",
        progress="100%",
        state="token mine",
        submitTime=1_700_000_000_123,
        startTime=0,
        finishTime=None,
        imageUrl="https://cdn.example/a.png?ex=1&is=2",
        failReason="",
        buttons=[{"customId": "MJ::JOB", "emoji": "", "label": "U1", "style": 2, "type": 2}, {"label": "Web"}, 7],
        somethingNew={"a": 1},
    ) == TaskView(
        task_id="7",
        status=TaskStatus.SUCCESS,
        progress=100,
        image_url="https://cdn.example/a.png?ex=1&is=2",
        state="token mine",
        submitted_at=datetime(2023, 11, 14, 22, 13, 20, 123000, tzinfo=UTC),
        buttons=(Button("MJ::JOB", "U1", ""),),
    )


@pytest.mark.parametrize(
    "data", [None, [], "7", 7, {}, {"id": None}, {"id": ""}, {"id": {}}, {"id": "a" * 201}, {"id": True}]
)
def test_what_is_no_task(data: object) -> None:
    assert parse_task(data) is None


def test_an_id_may_be_a_number() -> None:
    assert task(id=1320098173412546).task_id == "1320098173412546"


@pytest.mark.parametrize("name", ["NOT_START", "SUBMITTED", "IN_PROGRESS", "SUCCESS", "FAILURE", "MODAL", "CANCEL"])
def test_the_known_statuses(name: str) -> None:
    assert task(status=name).status.value == name


@pytest.mark.parametrize("value", ["", None, "success", "PAUSED", 3, [], {}, True])
def test_unknown_statuses(value: object) -> None:
    assert task(status=value).status is TaskStatus.UNKNOWN
    assert task().status is TaskStatus.UNKNOWN


@pytest.mark.parametrize(
    ("value", "percent"),
    [
        ("35%", 35),
        ("100%", 100),
        ("0%", 0),
        (" 35 % ", 35),
        ("35.9%", 35),
        ("35", 35),
        (35, 35),
        (35.9, 35),
        ("", None),
        (None, None),
        ("排队中", None),
        ("waiting to start", None),
        ("101%", None),
        (101, None),
        (-1, None),
        (True, None),
        (float("nan"), None),
        (float("inf"), None),
        ([], None),
    ],
)
def test_progress(value: object, percent: int | None) -> None:
    assert task(progress=value).progress == percent


LONG = "https://cdn.example/" + "a" * 4076


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("http://cdn.example:8080/a.webp", True),
        (LONG, True),
        (LONG + "a", False),
        ("ftp://cdn.example/a.png", False),
        ("file:///etc/passwd", False),
        ("javascript:alert(1)", False),
        ("data:image/png;base64,AAAA", False),
        ("//cdn.example/a.png", False),
        ("https:///a.png", False),
        ("https://[broken/a.png", False),
        ("https://cdn.example:port/a.png", False),
        ("https://cdn.example/a\nb.png", False),
        ("", False),
        (None, False),
        (7, False),
    ],
)
def test_image_urls(url: object, kept: bool) -> None:
    assert task(imageUrl=url).image_url == (url if kept else None)
    fallback = task(imageUrl=url, imageUrls=[{"url": "https://other.example/b.png"}]).image_url
    assert fallback == (url if kept else "https://other.example/b.png")


@pytest.mark.parametrize(
    "several", [None, [], [None], [{}], [{"url": None}], {"url": "https://a.example/"}, "https://a.example"]
)
def test_odd_fallbacks(several: object) -> None:
    assert task(imageUrls=several).image_url is None


@pytest.mark.parametrize(
    "value", [None, 0, -1, "", "soon", 1_700_000_000, 10**30, 1e300, float("nan"), float("inf"), True, [], {}]
)
def test_absurd_times(value: object) -> None:
    view = task(submitTime=value, startTime=value, finishTime=value)
    assert (view.submitted_at, view.started_at, view.finished_at) == (None, None, None)


def test_the_fail_reason_is_clean_and_the_state_untouched() -> None:
    """I8."""
    view = task(failReason="bad\x00 data:image/png;base64,AAAA", state="a  b\n")
    assert (view.fail_reason, view.state) == ("bad [data]", "a  b\n")


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("任务超时", "timeout"),
        ("Banned prompt", "moderated"),
        ("Blocked", "moderated"),
        ("Subscription required", "subscription"),
        ("Queue full", "queue_full"),
        ("队列已满", "queue_full"),
        ("something else", "failed"),
        ("", "failed"),
        (None, "failed"),
    ],
)
def test_failures_have_classes(reason: str | None, kind: str) -> None:
    assert classify_failure(reason) is FailureClass(kind)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["status", "progress", "imageUrl", "imageUrls", "failReason", "state", "submitTime", "startTime", "finishTime"]


@given(st.dictionaries(st.sampled_from(["id", *FIELDS]), JSON))
def test_no_task_json_raises(data: dict[str, Any]) -> None:
    view = parse_task(data)
    assert view is None or view.progress is None or 0 <= view.progress <= 100


def answer(status: int, body: object = b"", truncated: bool = False) -> RawAnswer:
    return RawAnswer(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode(), truncated)


SEVEN = {"id": "7", "status": "SUCCESS", "state": "token"}
NOT_FOUND = {"code": 4, "description": "task_no_found"}
ERROR = {"error": {"message": "Invalid URL"}}
HTML = b"<html><title>oops</title>"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer(200, SEVEN), Found),
        (answer(200, b""), Unknown),
        (answer(200, b" \n"), Unknown),
        (answer(200, b"null"), Unknown),
        (answer(204), Unknown),
        (answer(200, NOT_FOUND), Unknown),
        (answer(400, NOT_FOUND), Unknown),
        (answer(200, NOT_FOUND | {"description": "task_no_found "}), Unknown),
        (answer(200, SEVEN | {"id": "8"}), CannotTell),
        (answer(500, SEVEN), CannotTell),
        (answer(200, {}), CannotTell),
        (answer(200, []), CannotTell),
        (answer(200, HTML), CannotTell),
        (answer(200, {"code": 5, "description": "do_request_failed"}), CannotTell),
        (answer(200, {"code": 4, "description": "other"}), CannotTell),
        (answer(200, b"null", truncated=True), CannotTell),
        (answer(200, b"", truncated=True), CannotTell),
        (answer(201), CannotTell),
        (answer(307), CannotTell),
        (answer(401, NOT_FOUND), CannotTell),
        (answer(403), CannotTell),
        (answer(404), CannotTell),
        (answer(404, ERROR), CannotTell),
        (answer(405), CannotTell),
        (answer(429), CannotTell),
        (answer(500), CannotTell),
        (answer(502, HTML), CannotTell),
    ],
)
def test_fetch_says_unknown_only_when_the_api_does(reply: RawAnswer, expected: type) -> None:
    """I2: a task taken for unknown may be paid for again."""
    assert type(lookups.read_fetch(reply, "7")) is expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer(200, [SEVEN]), ["7"]),
        (answer(200, [SEVEN, {"id": "9"}]), ["7", "9"]),
        (answer(200, [SEVEN, {"id": "9"}, {"id": "1"}]), ["7", "9"]),
        (answer(200, []), []),
        (answer(200, [SEVEN, {"id": "1"}]), CannotTell),
        (answer(200, [SEVEN, {}]), CannotTell),
        (answer(200, [SEVEN, None]), CannotTell),
        (answer(200, b""), CannotTell),
        (answer(200, b"null"), CannotTell),
        (answer(200, HTML), CannotTell),
        (answer(200, {"code": 1}), CannotTell),
        (answer(200, [], truncated=True), CannotTell),
        (answer(404), NoSuchCall),
        (answer(405, ERROR), NoSuchCall),
        (answer(401, []), CannotTell),
        (answer(500, []), CannotTell),
    ],
)
def test_a_list_by_ids(reply: RawAnswer, expected: list[str] | type) -> None:
    found = lookups.read_by_ids(reply, ["7", "9"])
    assert sorted(found) == expected if isinstance(found, dict) else type(found) is expected


@pytest.mark.parametrize(
    ("body", "query", "listed"),
    [
        ([SEVEN], Found, Found),
        ({"content": [SEVEN], "totalElements": 1}, Found, Found),
        ({"code": 1, "data": {"list": [SEVEN]}}, Found, Found),
        ([SEVEN | {"state": "token and more"}], Found, Found),
        ([SEVEN | {"state": "tokens"}], CannotTell, CannotTell),
        ([SEVEN | {"state": None}], CannotTell, CannotTell),
        ([], Unknown, CannotTell),
        ({"content": []}, Unknown, CannotTell),
        ({}, CannotTell, CannotTell),
        ({"data": {"data": {"data": []}}}, CannotTell, CannotTell),
        (b"", CannotTell, CannotTell),
        (HTML, CannotTell, CannotTell),
    ],
)
def test_finding_by_state(body: object, query: type, listed: type) -> None:
    assert type(lookups.read_query(answer(200, body), "token")) is query
    assert type(lookups.read_list(answer(200, body), "token")) is listed
    assert type(lookups.read_query(answer(404, body), "token")) is NoSuchCall
    assert type(lookups.read_query(answer(502, body), "token")) is CannotTell


def test_of_two_tasks_with_one_state_the_living_one_is_found() -> None:
    rows = [SEVEN | {"id": "8", "status": "FAILURE"}, SEVEN]
    found = lookups.read_query(answer(200, rows), "token")
    assert isinstance(found, Found)
    assert found.task.task_id == "7"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer(200, {"code": 1, "description": "ok"}), Cancelled),
        (answer(200, {"code": 4, "description": "no"}), NotCancelled),
        (answer(404, {"code": 3, "description": "no"}), NotCancelled),
        (answer(404), NoSuchCall),
        (answer(405, ERROR), NoSuchCall),
        (answer(200), CannotTell),
        (answer(200, HTML), CannotTell),
        (answer(500, {"code": 1}), CannotTell),
        (answer(401, {"code": 1}), CannotTell),
        (answer(200, {"code": 1}, truncated=True), CannotTell),
    ],
)
def test_cancelling(reply: RawAnswer, expected: type) -> None:
    assert type(lookups.read_cancel(reply)) is expected


def answered(status: int, body: str) -> RawAnswer:
    return RawAnswer(status, {}, body.encode())


@pytest.mark.parametrize(
    ("body", "cores"),
    [
        ('[{"coreSize": 3, "enable": true}, {"coreSize": "12"}]', 15),
        ('{"content": [{"coreSize": 3, "enable": true}, {"coreSize": 5, "enable": false}]}', 3),
        ('[{"coreSize": 3}, {"coreSize": -7}, {"coreSize": 1e9}, {"id": "1"}, 7]', 3),
    ],
)
def test_the_cores_of_enabled_accounts_are_summed(body: str, cores: int) -> None:
    assert lookups.read_cores(answered(200, body)) == cores


@pytest.mark.parametrize("body", ["", "[]", "{}", '[{"enable": true}]', '{"code": 4}', "<html>"])
def test_an_answer_without_accounts_tells_nothing(body: str) -> None:
    assert isinstance(lookups.read_cores(answered(200, body)), CannotTell)


def test_a_key_without_rights_to_accounts_is_no_wrong_key() -> None:
    told = lookups.read_cores(answered(403, ""))
    assert isinstance(told, CannotTell)
    assert lookups.read_cores(answered(404, "")) == NoSuchCall()

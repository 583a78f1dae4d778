"""The HTTP API as its own process: jobs and pictures in and out, and what is told when something is wrong."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.settings import Settings
from producer import Producer
from tests.integration.commands import succeed
from tests.integration.service import Service, flat, noise, problem, serving

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def service(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    small = {"BLENDQ_MAX_IMAGE_BYTES": "20000", "BLENDQ_MAX_IMAGE_PIXELS": "40000"}
    small["BLENDQ_UPSTREAMS"] = '[{"name": "one", "url": "https://one.example"}]'
    limits = {"BLENDQ_SERVICE_MAX_BODY_BYTES": "100000", "BLENDQ_SERVICE_REQUESTS_PER_SECOND": "10000"}
    with serving(stack, tmp_path_factory.mktemp("api"), **small, **limits) as made:
        yield made


# Enqueueing --------------------------------------------------------------------------------------------------------


def test_a_job_is_enqueued_and_found(service: Service, blends: Producer) -> None:
    answer = service.http.post("/v1/jobs", json=service.job(custom_id="n1", campaign="c1"))
    told = answer.json()
    assert (answer.status_code, told["status"], told["custom_id"], told["campaign_id"]) == (202, "waiting", "n1", "c1")
    assert answer.headers["location"] == told["status_url"] == f"/v1/jobs/{told['id']}"
    assert blends.get(told["id"]).campaign == "c1"
    record = service.http.get(told["status_url"]).json()
    assert (record["id"], record["status"], record["campaign_id"]) == (told["id"], "waiting", "c1")
    assert record["history"][0]["event"] == "enqueue"


def test_the_same_key_and_body_are_the_same_job_and_another_body_is_refused(service: Service) -> None:
    """I2: an acknowledgement that was lost is asked for again."""
    body, key = service.job(), {"Idempotency-Key": "order-17"}
    first = service.http.post("/v1/jobs", json=body, headers=key)
    again = service.http.post("/v1/jobs", json=body, headers=key)
    assert first.status_code == again.status_code == 202
    assert first.json()["id"] == again.json()["id"]
    for other in (service.job(), body | {"campaign": "another"}):
        problem(service.http.post("/v1/jobs", json=other, headers=key), 422, "idempotency_conflict")


def test_a_key_outlives_its_job(service: Service, blends: Producer) -> None:
    body, key = service.job(campaign="purged"), {"Idempotency-Key": "order-18"}
    job_id = service.http.post("/v1/jobs", json=body, headers=key).json()["id"]
    blends.cancel(job_id)
    blends.campaign("purged").purge()
    said = problem(service.http.post("/v1/jobs", json=body, headers=key), 410, "job_purged")
    assert job_id in said["detail"]


@pytest.mark.parametrize("keys", [[""], ["a b"], ["x" * 256], ["é"], ["a", "a"], ["a", "b"]])
def test_a_bad_idempotency_key_is_refused(service: Service, keys: list[str]) -> None:
    headers = [(b"Idempotency-Key", key.encode()) for key in keys]
    problem(service.http.post("/v1/jobs", json=service.job(), headers=headers), 400, "idempotency_key")


def test_a_data_url_is_a_picture(service: Service, blends: Producer) -> None:
    url = "data:image/png;base64," + base64.b64encode(noise()).decode()
    answer = service.http.post("/v1/jobs", json={"base64Array": [url, service.upload()], "botType": "NIJI_JOURNEY"})
    assert answer.status_code == 202, answer.text
    assert all(image.startswith("sha256:") for image in blends.get(answer.json()["id"]).request.images)


@pytest.mark.parametrize(
    "image", ["/etc/passwd", "examples/whale.webp", "~/x.png", "https://a.test/x.png", "file:///x"]
)
def test_a_picture_is_named_by_its_content_alone(service: Service, image: str) -> None:
    """Files of the server's machine are nobody's business."""
    said = problem(service.http.post("/v1/jobs", json={"images": [service.upload(), image]}), 422, "picture")
    assert image not in said["detail"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{nonsense", 400, "json"),
        ("", 400, "json"),
        ("[" * 5000, 400, "json"),
        ('{"metadata":' + '{"a":' * 300 + "1" + "}" * 301, 400, "json"),
        ("[]", 422, "invalid_request"),
        ("{}", 422, "invalid_request"),
        ('{"images": ["x"]}', 422, "invalid_request"),
        ('{"images": ["x", "y"], "colour": "red"}', 422, "invalid_request"),
        ('{"images": ["x", "y"], "metadata":' + '{"a":' * 40 + "1" + "}" * 41, 422, "invalid_request"),
        ('{"images": ["sha256:' + "0" * 64 + '", "sha256:' + "0" * 64 + '"]}', 422, "picture"),
        ('{"images": ["data:image/png;base64,AAAA", "data:image/png;base64,AAAA"]}', 422, "picture"),
        ('{"images": ["x", "y"], "campaign": "' + "x" * 99_999 + '"}', 413, "too_large"),
    ],
)
def test_what_is_no_job_is_refused(service: Service, body: str, status: int, code: str) -> None:
    said = problem(service.http.post("/v1/jobs", content=body, headers=JSON), status, code)
    assert "AAAA" not in said["detail"]


def test_a_job_may_be_for_one_upstream(service: Service, blends: Producer) -> None:
    told = service.http.post("/v1/jobs", json=service.job(upstream="one")).json()
    assert blends.get(told["id"]).request.upstream == "one"
    said = problem(service.http.post("/v1/jobs", json=service.job(upstream="gone")), 422, "invalid_request")
    assert "there is no upstream 'gone', only one" in said["detail"]


def test_a_campaign_that_cannot_be_is_refused(service: Service) -> None:
    problem(service.http.post("/v1/jobs", json=service.job(campaign="a/b")), 422, "usage")


def test_a_body_of_no_told_length_is_bounded_too(service: Service) -> None:
    pieces = (b" " * 10_000 for _ in range(20))
    problem(service.http.post("/v1/jobs", content=pieces, headers=JSON), 413, "too_large")


def test_a_job_must_say_that_it_is_json(service: Service) -> None:
    """So that no page in a browser can enqueue behind its reader's back."""
    problem(service.http.post("/v1/jobs", content="{}", headers={"Content-Type": "text/plain"}), 415, "media_type")


# Looking, cancelling, retrying -------------------------------------------------------------------------------------


def pages(service: Service, **query: Any) -> Iterator[list[str]]:
    after = None
    while True:
        answer = service.http.get("/v1/jobs", params=query | ({"after": after} if after else {}))
        assert answer.status_code == 200, answer.text
        page = answer.json()
        yield [job["id"] for job in page["data"]]
        assert page["has_more"] == (page["next"] is not None)
        if (after := page["next"]) is None:
            return


def test_jobs_are_listed_in_order_page_by_page(service: Service, blends: Producer) -> None:
    ids = [service.enqueue(campaign="listed")["id"] for _ in range(5)]
    assert list(pages(service, campaign="listed", limit=2)) == [ids[:2], ids[2:4], ids[4:]]
    assert list(pages(service, campaign="listed", limit=5)) == [ids]
    blends.cancel(ids[1])
    blends.cancel(ids[3])
    assert list(pages(service, campaign="listed", status="cancelled", limit=1)) == [[ids[1]], [ids[3]]]
    assert list(pages(service, campaign="listed", status=["waiting", "cancelled"])) == [ids]
    everything = [job_id for page in pages(service, limit=3) for job_id in page]
    assert len(everything) == len(set(everything)) == sum(blends.store.counts(None)[status] for status in STATUSES)
    assert [job_id for job_id in everything if job_id in ids] == ids
    assert list(pages(service, campaign="nobody-knows")) == [[]]


STATUSES = ("waiting", "cancelled")


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 201}, {"limit": "x"}, {"status": "odd"}])
def test_a_list_of_what_cannot_be_is_refused(service: Service, query: dict[str, Any]) -> None:
    problem(service.http.get("/v1/jobs", params=query), 422, "invalid_request")


@pytest.mark.parametrize("after", ["x", "listed:", "listed:-1", "gone:1", "listed:" + "9" * 50, "\x00:1"])
def test_a_cursor_of_another_list_is_refused(service: Service, after: str) -> None:
    problem(service.http.get("/v1/jobs", params={"campaign": "listed", "after": after}), 422, "usage")


def test_a_job_is_cancelled_and_tried_again(service: Service) -> None:
    url = service.enqueue()["cancel_url"]
    first, again = service.http.delete(url).json(), service.http.delete(url).json()
    assert (first["changed"], first["job"]["status"], again["changed"]) == (True, "cancelled", False)
    retried = service.http.post(f"{url}/retry").json()
    assert (retried["changed"], retried["job"]["status"]) == (True, "waiting")


@pytest.mark.parametrize("job_id", ["job_nobody", "x" * 90, "%00", "%C3%A9", "a:b"])
def test_a_job_that_nobody_knows(service: Service, job_id: str) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/retry")):
        problem(service.http.request(method, f"/v1/jobs/{job_id}{path}"), 404, "job_not_found")


def test_a_path_and_a_method_that_nobody_knows(service: Service) -> None:
    problem(service.http.get("/v1/nothing"), 404, "not_found")
    problem(service.http.put("/v1/jobs"), 405, "method_not_allowed")


# Pictures ----------------------------------------------------------------------------------------------------------


def test_a_picture_is_stored_once_raw_or_by_form(service: Service) -> None:
    data = noise()
    raw = service.http.put("/v1/images", content=data)
    form = service.http.put("/v1/images", files={"file": ("a.png", data, "image/png")})
    assert (raw.status_code, form.status_code, raw.json()) == (201, 201, form.json())
    assert raw.json() | {"digest": "", "url": "", "bytes": 0} == {
        "digest": "", "url": "", "media_type": "image/png", "width": 16, "height": 16, "bytes": 0
    }  # fmt: skip
    assert service.http.get(raw.headers["location"]).content == data


def test_a_finished_picture_is_handed_out(service: Service, blends: Producer) -> None:
    job = service.enqueue()
    path = succeed(blends, job["id"])
    told = service.http.get(job["status_url"]).json()
    answer = service.http.get(told["picture_url"])
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "image/png", path.read_bytes())
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("digest", ["x", "sha256:" + "0" * 64, "..%2F..%2Fetc%2Fpasswd", "sha256:..", "%00"])
def test_a_picture_that_is_not_there(service: Service, digest: str) -> None:
    answer = service.http.get(f"/v1/images/{digest}")
    problem(answer, 404, "not_found" if "%2F" in digest else "picture_missing")


FORM = {"Content-Type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"no picture", {}, 415, "picture"),
        (b"", {}, 415, "picture"),
        (noise(), {"Content-Type": "text/html"}, 415, "media_type"),
        (noise()[:-40], {}, 422, "picture"),
        (b"x" * 20_001, {}, 413, "too_large"),
        (flat(300), {}, 413, "too_large"),
        (b"", FORM, 400, "form"),
        (b"nonsense", FORM, 400, "form"),
        (noise(), {"Content-Type": "multipart/form-data"}, 400, "form"),
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n', FORM, 400, "form"),
    ],
)
def test_what_is_no_good_picture_is_refused(
    service: Service, content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    problem(service.http.put("/v1/images", content=content, headers=headers), status, code)


def test_nothing_of_a_refused_picture_is_kept(service: Service, stack: Settings) -> None:
    service.http.put("/v1/images", content=noise()[:-40])
    assert list(Path(stack.data_dir / "images" / "tmp").iterdir()) == []


# Follow-ups --------------------------------------------------------------------------------------------------------


def test_a_finished_grid_is_carried_on(service: Service, blends: Producer) -> None:
    job = service.enqueue(custom_id="whale", then=["U1"])
    succeed(blends, job["id"])
    answer = service.http.post(f"/v1/jobs/{job['id']}/act", json={"actions": ["U1", "V3"]})
    assert answer.status_code == 202, answer.text
    upscale, variation = answer.json()["data"]
    assert (upscale["custom_id"], variation["custom_id"]) == ("whale-U1", "whale-V3")
    assert (upscale["parent_id"], upscale["action"], upscale["status"]) == (job["id"], "U1", "waiting")
    record = service.http.get(job["status_url"]).json()
    assert [one["id"] for one in record["follow_ups"]] == [upscale["id"], variation["id"]]


def test_what_cannot_be_carried_on_is_told(service: Service) -> None:
    job = service.enqueue()
    problem(service.http.post(f"{job['status_url']}/act", json={"actions": ["U1"]}), 409, "not_a_grid")
    problem(service.http.post(f"{job['status_url']}/act", json={"actions": ["U7"]}), 422, "invalid_request")
    problem(service.http.post(f"{job['status_url']}/act", json={"actions": []}), 422, "invalid_request")
    problem(service.http.post(f"{job['status_url']}/act", content=b"{", headers=JSON), 400, "json")
    problem(service.http.post("/v1/jobs/job_none/act", json={"actions": ["U1"]}), 404, "job_not_found")

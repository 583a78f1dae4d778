"""Jobs for one API by its name: refused wherever they are enqueued when no such API is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import InvalidRequest, PictureError
from jobs.job import Job
from jobs.request import BlendRequest
from jobs.settings import Settings
from producer import Producer

UPSTREAMS = [{"name": "one", "url": "https://one.example"}, {"name": "two", "url": "https://two.example"}]
SAID = "there is no upstream 'gone', only one, two; name it in BLENDQ_UPSTREAMS"


@pytest.fixture
def knowing(stack: Settings) -> Iterator[Producer]:
    """One whose settings name two APIs."""
    with Producer(stack.model_validate(stack.model_dump(exclude_unset=True) | {"upstreams": UPSTREAMS})) as producer:
        yield producer


@pytest.fixture
def requests(pictures: list[str]) -> list[BlendRequest]:
    return [BlendRequest(images=pictures, upstream=name) for name in ("two", "gone", "one")]


def enqueue_each(blends: Producer, requests: list[BlendRequest]) -> list[Job | InvalidRequest]:
    return blends.enqueue_each(requests, [None] * len(requests), campaign="each")


def test_each_is_told_for_itself(knowing: Producer, requests: list[BlendRequest]) -> None:
    two, gone, one = enqueue_each(knowing, [*requests[:2], BlendRequest(images=["gone.png", "gone.png"])])
    assert isinstance(two, Job)
    assert knowing.get(two).request.upstream == "two"
    assert isinstance(gone, InvalidRequest)
    assert (type(gone), str(gone)) == (InvalidRequest, SAID)
    assert isinstance(one, PictureError)


@pytest.mark.parametrize(
    "enqueue",
    [
        lambda blends, requests: list(blends.enqueue_many(requests, campaign="many")),
        lambda blends, requests: blends.enqueue_batch(requests, campaign="many"),
    ],
    ids=["many", "batch"],
)
def test_nothing_of_a_batch_is_enqueued(
    knowing: Producer, requests: list[BlendRequest], enqueue: Callable[[Producer, list[BlendRequest]], Any]
) -> None:
    with pytest.raises(InvalidRequest, match=f"request 2: {SAID}"):
        enqueue(knowing, requests)
    assert knowing.store.campaign_began("many") is None


def test_one_alone(knowing: Producer, requests: list[BlendRequest]) -> None:
    with pytest.raises(InvalidRequest, match=f"^{SAID}"):
        knowing.enqueue(requests[1])


def test_where_only_the_workers_know_them_it_is_taken(blends: Producer, requests: list[BlendRequest]) -> None:
    assert blends.enqueue(requests[1]).request.upstream == "gone"


def test_submit_refuses_it_too(call: Any, pictures: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLENDQ_UPSTREAMS", json.dumps(UPSTREAMS))
    done = call("submit", *pictures, "--upstream", "gone")
    assert (done.code, done.out, SAID in done.err) == (4, "", True)
    assert "no upstream 'two', only default" in call("submit", *pictures, "--upstream", "two", "--sandbox").err
    shown = call("job", "show", call("submit", *pictures, "--upstream", "two").out.strip()).out
    assert "upstream two" in shown


def test_a_run_names_every_such_row(call: Any, tmp_path: Path, pictures: list[str]) -> None:
    rows = [{"images": pictures, "upstream": name} for name in ("default", "gone", "two")]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for how in (["--out", str(tmp_path / "out")], ["--dry-run"]):
        done = call("run", str(tmp_path / "m.jsonl"), "--sandbox", *how)
        assert done.code == 4
        assert "line 2: there is no upstream 'gone', only default" in done.err
        assert "line 3: there is no upstream 'two', only default" in done.err
    for_all = call("run", str(tmp_path / "m.jsonl"), "--sandbox", "--upstream", "gone", "--dry-run")
    assert (for_all.code, "the options for every blend: there is no upstream 'gone'" in for_all.err) == (2, True)

"""`blendq submit` and `job`, on an embedded server: what they print, and how they leave."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from jobs import events
from jobs.events import AnswerKind
from jobs.job import Status
from ops.cli.job_view import clean
from producer import Producer
from tests.integration.commands import UPLOADED, Done, happen, succeed

# --- submit -------------------------------------------------------------------------------------------------------


def test_submit_prints_the_id_and_what_to_do(call: Any, blends: Producer, pictures: list[str]) -> None:
    done = call("submit", *pictures)
    job = blends.get(done.out.strip())
    assert (done.code, job.status, job.campaign) == (0, Status.WAITING, "default")
    assert f"blendq job show {job.id} --data-dir" in done.err


def test_submit_takes_every_field_of_a_request(call: Any, blends: Producer, pictures: list[str]) -> None:
    options = (
        "--dimensions portrait --bot-type NIJI_JOURNEY --mode FAST --mode RELAX --instance-id 7 --remix "
        "--upstream spare --no-remix-auto-considered --state s --custom-id c --priority 9 "
        "--notify-hook https://example.com/h --then V1 --campaign every --json"
    )
    done = call("submit", *pictures, *options.split(), "--metadata", '{"a": [1]}')
    assert done.code == 0
    job = blends.get(done.json["id"])
    assert done.json["campaign"] == job.campaign == "every"
    assert job.request.model_dump(mode="json", exclude={"images"}) == {
        "dimensions": "PORTRAIT",
        "bot_type": "NIJI_JOURNEY",
        "modes": ["FAST", "RELAX"],
        "instance_id": "7",
        "upstream": "spare",
        "remix": True,
        "remix_auto_considered": False,
        "state": "s",
        "custom_id": "c",
        "priority": 9,
        "then": ["V1"],
        "notify_hook": "https://example.com/h",
        "metadata": {"a": [1]},
    }


def test_submitting_again_is_the_same_job(call: Any, pictures: list[str]) -> None:
    assert call("submit", *pictures).out == call("submit", *pictures).out
    keyed = call("submit", *pictures, "--idempotency-key", pictures[0])
    assert keyed.out == call("submit", *pictures, "--idempotency-key", pictures[0]).out
    conflict = call("submit", *pictures, "--idempotency-key", pictures[0], "--dimensions", "PORTRAIT")
    assert (conflict.code, conflict.out) == (4, "")
    assert "another request" in conflict.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["only-one.png"], 4, "2 to 5 pictures, not 1"),
        (["none.png", "none.png"], 4, "none.png: no such file"),
        ([], 2, "IMAGES"),
        (["a", "b", "--dimensions", "ROUND"], 2, "ROUND"),
        (["a", "b", "--metadata", "{a}"], 2, "--metadata is not JSON"),
        (["a", "b", "--metadata", "[1]"], 4, "metadata"),
        (["a", "b", "--state", "x" * 256], 4, "state is over the limit of 255"),
        (["a", "b", "--timeout", "3"], 2, "--timeout is for --wait"),
        (["a", "b", "--out", "x.png"], 2, "--out is for --wait"),
        (["a", "b", "--wait", "--embed"], 2, "--embed is for --out"),
        (["a", "b", "--campaign", "a b"], 2, "campaign 'a b'"),
    ],
)
def test_submit_refuses_in_one_line(call: Any, words: list[str], code: int, said: str) -> None:
    done = call("submit", *words)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_submit_waits_for_the_picture(call: Any, blends: Producer, pictures: list[str]) -> None:
    found: list[Done] = []
    job_id = call("submit", *pictures).out.strip()
    waiter = threading.Thread(target=lambda: found.append(call("submit", *pictures, "--wait", "--timeout", "30")))
    waiter.start()
    path = succeed(blends, job_id)
    waiter.join(30)
    assert (found[0].code, found[0].out) == (0, f"{path}\n")
    done = call("submit", *pictures, "--wait", "--json").json
    assert (done["picture"], done["status"], done["upstream"]["task_id"]) == (str(path), "succeeded", f"task-{job_id}")


def test_submit_tells_why_there_is_no_picture(call: Any, blends: Producer, pictures: list[str]) -> None:
    job_id = call("submit", *pictures).out.strip()
    happen(blends, job_id, *UPLOADED, events.Answer(1, AnswerKind.MODERATED, code=24, description="banned"))
    done = call("submit", *pictures, "--wait")
    assert (done.code, done.out) == (3, "")
    assert "banned" in done.err


def test_a_picture_names_its_job(call: Any, blends: Producer, pictures: list[str], tmp_path: Path) -> None:
    job_id = call("submit", *pictures).out.strip()
    stored = succeed(blends, job_id)
    said = tmp_path / "said.png"
    put = call("submit", *pictures, "--wait", "--out", str(said), "--embed")
    assert (put.code, put.out) == (0, f"{said}\n")
    assert said.read_bytes() != stored.read_bytes()
    plain = tmp_path / "plain.png"
    assert call("submit", *pictures, "--wait", "--out", str(plain), "--json").json["picture"] == str(plain)
    assert plain.read_bytes() == stored.read_bytes()
    for file in (said, plain):
        assert call("job", "show", str(file), "--json").json["id"] == job_id
    unknown = tmp_path / "unknown.png"
    Image.new("RGB", (3, 3), "teal").save(unknown)
    done = call("job", "show", str(unknown))
    assert (done.code, done.out) == (2, "")
    assert "is no job's picture" in done.err
    nowhere = call("submit", *pictures, "--wait", "--out", str(tmp_path / "no" / "x.png"))
    assert (nowhere.code, nowhere.out) == (1, "")
    assert str(stored) in nowhere.err


def test_submit_does_not_wait_for_ever(call: Any, pictures: list[str]) -> None:
    done = call("submit", *pictures, "--wait", "--timeout", "0.1")
    assert (done.code, done.out) == (1, "")
    assert "still waiting after 0.1 s" in done.err


# --- a data folder on which nothing runs --------------------------------------------------------------------------


def test_submit_starts_a_server_for_the_while(call: Any, pictures: list[str], tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    waited = call("submit", *pictures, "--wait", data_dir=alone)
    assert (waited.code, waited.out) == (2, "")
    assert "start `blendq up --data-dir" in waited.err
    assert not alone.exists(), "nothing was enqueued"
    done = call("submit", *pictures, data_dir=alone)
    assert "nothing works on it yet" in done.err
    assert call("job", "show", done.out.strip(), "--json", data_dir=alone).json["status"] == "waiting"


def test_the_sandbox_has_jobs_of_its_own(call: Any, pictures: list[str], tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    done = call("submit", *pictures, "--sandbox", data_dir=alone)
    assert "blendq up --sandbox=open-source" in done.err
    assert (alone / "sandbox-open-source").is_dir()
    job_id = done.out.strip()
    assert call("job", "show", job_id, "--sandbox", data_dir=alone).code == 0
    for elsewhere in ([], ["--sandbox=again"]):
        there = call("job", "show", job_id, *elsewhere, data_dir=alone)
        assert there.code == 1
        assert "--sandbox" in there.err


@pytest.mark.parametrize("words", [["job", "show", "x"], ["job", "cancel", "x"], ["campaign", "show", "x"]])
def test_looking_makes_no_folder(call: Any, tmp_path: Path, words: list[str]) -> None:
    done = call(*words, data_dir=tmp_path / "typo")
    assert (done.code, done.out) == (1, "")
    assert "there are no jobs in" in done.err
    assert call("campaign", "list", "--json", data_dir=tmp_path / "typo").json == []
    assert not (tmp_path / "typo").exists()


# --- job ----------------------------------------------------------------------------------------------------------


def test_job_show_tells_the_whole_history(call: Any, blends: Producer, pictures: list[str]) -> None:
    job_id = call("submit", *pictures, "--custom-id", "seventeen").out.strip()
    happen(blends, job_id, *UPLOADED, events.Answer(1, AnswerKind.QUEUED, f"t-{job_id}", 3, 22, "排队中"))
    shown = call("job", "show", job_id)
    assert shown.code == 0
    for words in (f"{job_id}  queued", "seventeen", "sent after", "with code 22", "排队中", f"task t-{job_id}"):
        assert words in shown.out
    events_shown = [line.split() for line in shown.out.partition("History")[2].splitlines()[2:]]
    assert [words[1] if words[1] == "enqueue" else words[3] for words in events_shown] == [
        "enqueue", "release", "claim", "commit", "answer",
    ]  # fmt: skip

    record = call("job", "show", job_id, "--json").json
    assert (record["status"], record["queued_answers"], record["custom_id"]) == ("queued", 1, "seventeen")
    assert [entry["after"] for entry in record["history"]] == [
        "waiting", "released", "submitting", "committed", "queued",
    ]  # fmt: skip
    assert record["attempts"][0]["upstream"]["code"] == 22
    assert record["created_at"].endswith("Z")


def test_words_of_the_api_cannot_steer_the_terminal(call: Any, blends: Producer, pictures: list[str]) -> None:
    job_id = call("submit", *pictures).out.strip()
    evil = "\x1b[2Jgone\r\nblendq: all is well"
    happen(blends, job_id, *UPLOADED, events.Answer(1, AnswerKind.MODERATED, code=24, description=evil))
    for done in (call("job", "show", job_id), call("campaign", "show", "default")):
        assert "\x1b" not in done.out
        assert "\nblendq" not in done.out
    assert clean("a\u202eb\x07c") == "a b c"


def test_cancel_and_retry_say_what_it_means(call: Any, blends: Producer, pictures: list[str]) -> None:
    job_id = call("submit", *pictures).out.strip()
    assert "nothing was paid" in call("job", "cancel", job_id).out
    again = call("job", "cancel", job_id, "--json")
    assert (again.code, again.json["changed"], again.json["status"]) == (0, False, "cancelled")
    assert call("job", "retry", job_id).out == f"{job_id}: it is submitted again\n"
    happen(blends, job_id, *UPLOADED)
    assert "may still be paid for" in call("job", "cancel", job_id).out
    happen(blends, job_id, events.Conflict("job_other", "t"))
    assert "may pay again" in call("job", "show", job_id).out
    retried = call("job", "retry", job_id, "--json").json
    assert (retried["changed"], retried["before"], retried["status"]) == (True, "parked", "waiting")
    assert "may pay again" in retried["message"]
    assert "nothing to try again" in call("job", "retry", job_id).out


@pytest.mark.parametrize("command", ["show", "cancel", "retry"])
def test_an_unknown_job(call: Any, command: str) -> None:
    done = call("job", command, "job_none")
    assert (done.code, done.out) == (1, "")
    assert "there is no job 'job_none'" in done.err

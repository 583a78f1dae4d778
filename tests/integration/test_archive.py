"""A campaign in a file: nothing is forgotten that the file does not say."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import events
from jobs.errors import JobNotFound
from jobs.events import AnswerKind
from jobs.job import Job, Status
from jobs.request import BlendRequest
from producer import Producer, archive
from producer.campaign import summary
from tests.integration.commands import UPLOADED, happen, succeed

Finished = Callable[[str], list[str]]


@pytest.fixture
def finished(call: Any, blends: Producer, pictures: list[str]) -> Finished:
    """A campaign of three jobs that have ended, one with a picture; their ids."""

    def finished(campaign: str) -> list[str]:
        ids = [call("submit", *pictures, "--campaign", campaign, "--instance-id", n).out.strip() for n in "123"]
        succeed(blends, ids[0])
        happen(blends, ids[1], *UPLOADED, events.Answer(1, AnswerKind.MODERATED, code=24, description="é"))
        blends.cancel(ids[2])
        return ids

    return finished


def lines(file: Path) -> list[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as text:
        return [json.loads(line) for line in text]


def test_a_campaign_is_written_checked_and_forgotten(
    call: Any, blends: Producer, finished: Finished, tmp_path: Path
) -> None:
    ids = finished("old")
    records = [blends.get(one) for one in ids]
    lived = [[entry.event for entry in blends.store.history(one)] for one in ids]
    file = tmp_path / "old.jsonl.gz"
    told = call("campaign", "archive", "old", "--to", str(file), "--json").json
    assert {"jobs": 3, "forgotten": 3, "changed": 0, "pictures_dropped": 0}.items() <= told.items()
    head, *jobs = lines(file)
    assert (head["campaign"]["name"], head["campaign"]["total"]) == ("old", 3)
    assert [Job.model_validate(one["job"]) for one in jobs] == records
    assert [[entry["event"] for entry in one["history"]] for one in jobs] == lived
    assert "there is no campaign" in call("campaign", "show", "old").err
    with pytest.raises(JobNotFound):
        blends.get(ids[0])
    assert records[0].picture is not None
    assert blends.images.find(records[0].picture.digest) is not None


def test_one_that_is_not_finished_stays(call: Any, blends: Producer, finished: Finished, tmp_path: Path) -> None:
    ids = finished("busy")
    blends.retry(ids[2])
    done = call("campaign", "archive", "busy", "--to", str(tmp_path / "x"))
    assert (done.code, done.out) == (1, "")
    assert "blendq campaign cancel busy" in done.err
    assert not (tmp_path / "x").exists()


def test_what_changes_meanwhile_stays(
    call: Any, blends: Producer, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = finished("changing")
    write = archive._write

    def write_and_retry(*what: Any) -> None:
        write(*what)
        blends.retry(ids[1])
        blends.cancel(ids[1])  # as final as before, though another

    monkeypatch.setattr(archive, "_write", write_and_retry)
    file = tmp_path / "x.gz"
    done = call("campaign", "archive", "changing", "--to", str(file), "--json")
    assert (done.code, done.json["forgotten"], done.json["changed"]) == (1, 2, 1)
    assert blends.get(ids[1]).status is Status.CANCELLED
    again = call("campaign", "archive", "changing", "--to", str(file), "--json")
    assert (again.code, again.json["forgotten"]) == (1, 0), "the file does not say what it is now"
    monkeypatch.setattr(archive, "_write", write)
    assert call("campaign", "archive", "changing", "--to", str(tmp_path / "y.gz")).code == 0


def test_an_interrupted_one_goes_on_with_its_file(
    call: Any, blends: Producer, finished: Finished, tmp_path: Path
) -> None:
    ids = finished("halfway")
    file = tmp_path / "x.gz"
    archive._write(blends.store, summary(blends.store, "halfway"), file)
    blends.store.delete(ids[:1])
    before = file.read_bytes()
    assert call("campaign", "archive", "halfway", "--to", str(file), "--json").json["forgotten"] == 2
    assert file.read_bytes() == before
    assert len(lines(file)) == 4


@pytest.mark.parametrize("what", ["another", "cut", "spoilt", "text", "short", "empty", "nowhere"])
def test_a_file_that_is_not_right_forgets_nothing(
    call: Any, blends: Producer, finished: Finished, tmp_path: Path, what: str
) -> None:
    name = f"kept-{what}"
    finished(name)
    file = tmp_path / ("no/x.gz" if what == "nowhere" else "x.gz")
    if what != "nowhere":
        archive._write(blends.store, summary(blends.store, name), file)
        whole = file.read_bytes()
        text = gzip.decompress(whole)
        file.write_bytes(
            {
                "another": gzip.compress(text.replace(b'"name":"kept', b'"name":"other')),
                "cut": whole[:-30],
                "spoilt": whole[:40] + bytes([whole[40] ^ 255]) + whole[41:],
                "text": b"a letter",
                "short": gzip.compress(b"".join(text.splitlines(keepends=True)[:-1])),
                "empty": gzip.compress(b""),
            }[what]
        )
    done = call("campaign", "archive", name, "--to", str(file))
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "--to" in done.err
    assert sum(blends.store.counts(name).get(status, 0) for status in Status) == 3


def test_nothing_is_forgotten_before_the_file_has_its_name_for_good(
    call: Any, blends: Producer, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I9: what is renamed is lost by a power cut until its folder is on the disk."""
    ids = finished("sync")
    synced = []

    def broken(folder: Path) -> None:
        synced.append(folder)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(archive, "sync_folder", broken)
        told = call("campaign", "archive", "sync", "--to", str(tmp_path / "f.gz"))
    assert (told.code, "nothing was forgotten" in told.err, synced) == (1, True, [tmp_path])
    assert [blends.get(one).id for one in ids] == ids


@pytest.mark.parametrize("needed", [None, "reused", "blended"])
def test_pictures_go_but_for_those_that_others_need(
    call: Any, blends: Producer, pictures: list[str], tmp_path: Path, needed: str | None
) -> None:
    campaign = f"pictures-{needed}"
    job = blends.enqueue(BlendRequest(images=pictures), campaign=campaign)
    stored = succeed(blends, job.id)
    finished_picture = tmp_path / "made.png"
    finished_picture.write_bytes(stored.read_bytes())
    if needed == "reused":
        assert blends.enqueue(BlendRequest(images=pictures), campaign="others", reuse=True).reused_from == job.id
    elif needed == "blended":
        blends.enqueue(BlendRequest(images=[str(finished_picture), pictures[1]]), campaign="others")
    told = call("campaign", "archive", campaign, "--to", str(tmp_path / "x.gz"), "--pictures", "drop", "--json").json
    assert told["pictures_dropped"] == (needed is None)
    assert stored.exists() is (needed is not None)

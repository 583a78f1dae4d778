"""Results as a folder: safe names, whole files, one line for each row, and what is written beside."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import producer.files
import producer.results.gallery
from jobs.actions import Action
from jobs.errors import BlendqError, UsageError
from jobs.job import Follows, Job, Reason, Status
from jobs.pictures.images import ImageStore
from producer.enqueued import Enqueued, as_told
from producer.files import MAX_NAME_BYTES, Names, atomic_file, place_copy, safe_stem
from producer.manifests.manifest import Row
from producer.report import whole_record
from producer.results.embedding import embedded
from producer.results.export import PLAIN, Entry, ExportSummary, Form, export, with_jobs
from tests.unit.exports import FakeStore, Page, entry, exported, lines, names_in, png

# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        ("order 17", "order 17"),
        ("Zürich", "Zürich"),
        ("Zu\u0308rich", "Zürich"),
        ("../../etc/passwd", "_._.._etc_passwd"),
        ("a\\b", "a_b"),
        ("C:x", "C_x"),
        (".hidden", "_hidden"),
        ("..", "_"),
        (" ", "_"),
        ("\0\n\x7f", "___"),
        ("safe\u202egnp.exe", "safe_gnp.exe"),
        ("a\u2028b", "a_b"),
        ("dot.", "dot"),
        ("con", "_con"),
        ("Lpt1.tar", "_Lpt1.tar"),
        ("console", "console"),
        ('<a href="x">|*?', "_a href=_x_____"),
        ("é" * 200, "é" * 90),
    ],
)
def test_a_name_is_safe(text: str, stem: str) -> None:
    assert safe_stem(text) == stem


@given(st.lists(st.text(), max_size=12))
def test_any_text_becomes_a_file_name_of_its_own(texts: list[str]) -> None:
    names = Names()
    given_names = [names.claim(text, str(number)) + ".webp" for number, text in enumerate(texts)]
    assert len({name.casefold() for name in given_names}) == len(texts)
    for name in given_names:
        assert len((name + ".part").encode()) <= MAX_NAME_BYTES
        assert not name.startswith(".")
        assert not re.search(r'[/\\:*?"<>|\0-\x1f]', name)
        assert name == Path(name).name


def test_names_that_collide_get_a_number_and_stay_the_same_each_time() -> None:
    wanted = [("a", "1"), ("A", "2"), ("a", "1"), ("a-2", "3"), ("ａ", "4")]
    expected = ["a", "A-2", "a", "a-2-2", "ａ-3"]
    for _ in range(2):
        names = Names()
        assert [names.claim(*pair) for pair in wanted] == expected


def test_many_may_want_the_same_name() -> None:
    """Long names of pictures are cut, and those of one prompt begin alike; each new one tried all the numbers again."""
    names = Names()
    for _ in range(2):
        last = [names.claim("x", f"job_{number}") for number in range(20_000)][-1]
        assert last == "x-20000"


# --- whole files --------------------------------------------------------------------------------------------------


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")

    class Stop(Exception):
        pass

    def half() -> None:
        with atomic_file(path) as file:
            file.write(b"ha")
            raise Stop

    with pytest.raises(Stop):
        half()
    assert (path.read_text(), names_in(tmp_path)) == ("old", ["f"])
    with atomic_file(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert (path.read_text(), names_in(tmp_path)) == ("new", ["f"])


def test_what_a_killed_run_left_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "f.part").symlink_to(tmp_path / "precious")
    with atomic_file(tmp_path / "f") as file:
        file.write(b"new")
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "f").is_symlink()


@pytest.mark.parametrize("fails_after", [None, 0, 1000])
def test_a_copy_is_the_same_wherever_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_after: int | None
) -> None:
    """The system's own copy may stop anywhere, between two file systems at once."""
    data = os.urandom(3_000_000)
    (tmp_path / "a").write_bytes(data)
    real = os.copy_file_range

    def part_of_it(source: int, target: int, count: int) -> int:
        if fails_after is None:
            return real(source, target, min(count, 999_999))
        if os.lseek(target, 0, os.SEEK_CUR) >= fails_after:
            raise OSError(18, "cross-device link")
        return real(source, target, fails_after)

    monkeypatch.setattr(os, "copy_file_range", part_of_it)
    assert place_copy(tmp_path / "a", tmp_path / "b", "sha256:" + "0" * 64)
    assert (tmp_path / "b").read_bytes() == data
    assert names_in(tmp_path) == ["a", "b"]


def test_a_picture_that_is_there_is_not_touched(images: ImageStore, out: Path) -> None:
    pairs = [entry(images, number) for number in range(3)]
    assert exported(images, out, pairs).written == 3
    before = {path: path.stat() for path in out.glob("*.png")}
    os.utime(out / "job_1.png")  # copied about by something that does not keep times: the content tells
    touched = (out / "job_1.png").stat()
    again = exported(images, out, pairs)
    assert (again.written, again.unchanged) == (0, 3)
    assert (out / "job_0.png").stat() == before[out / "job_0.png"]
    assert (out / "job_1.png").stat().st_mtime_ns == touched.st_mtime_ns


def test_a_picture_that_is_there_is_not_even_read(
    images: ImageStore, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A campaign of a hundred gigabytes is exported again at every start."""
    pair = entry(images, 1)
    exported(images, out, [pair])
    monkeypatch.delattr("hashlib.file_digest")
    assert exported(images, out, [pair]).unchanged == 1


@pytest.mark.parametrize("kind", ["longer", "changed", "link"])
def test_a_picture_that_is_wrong_is_written_again(images: ImageStore, out: Path, tmp_path: Path, kind: str) -> None:
    pair = entry(images, 1)
    exported(images, out, [pair])
    path = out / "job_1.png"
    good = path.read_bytes()
    match kind:
        case "longer":
            path.write_bytes(good + b"x")
        case "changed":
            path.write_bytes(good[:-1] + b"x")
        case _:
            (tmp_path / "elsewhere").write_bytes(good)
            path.unlink()
            path.symlink_to(tmp_path / "elsewhere")
    assert exported(images, out, [pair]).written == 1
    assert path.read_bytes() == good
    assert not path.is_symlink()


def test_two_exports_into_one_folder_go_one_after_the_other(
    images: ImageStore, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run brings its folder up to date by itself, while somebody exports into it."""
    rows, jobs = zip(*(entry(images, number) for number in range(3)), strict=True)
    went_on, lock = threading.Event(), fcntl.flock

    def tell(descriptor: int, kind: int) -> None:
        if threading.current_thread() is second:
            went_on.set()
        lock(descriptor, kind)

    def export_too() -> None:
        found.append(exported(images, out, list(zip(rows, jobs, strict=True))))
        went_on.set()

    def entries() -> Iterator[Entry]:
        second.start()
        assert went_on.wait(10)
        yield from (Entry(row, job_id, job) for (row, job_id), job in zip(rows, jobs, strict=True))

    monkeypatch.setattr(fcntl, "flock", tell)
    found: list[ExportSummary] = []
    second = threading.Thread(target=export_too)
    store: Any = FakeStore(jobs)
    first = export(entries(), store, images, out)
    second.join(10)
    assert [(one.total, one.written) for one in (first, *found)] == [(3, 3), (3, 0)]
    assert len(lines(out / "results.jsonl")) == 3
    assert not list(out.glob("*.part"))


def test_no_blend_takes_the_place_of_a_picture_that_is_blended(images: ImageStore, out: Path) -> None:
    out.mkdir(parents=True)
    (out / "Whale.png").write_bytes(png("red"))
    (row, job_id), job = entry(images, 1, images=[str(out / "Whale.png"), str(out / "b.jpg")], custom_id="whale")
    with Enqueued(out.parent, out.parent / "other" / ".." / out.name) as enqueued:
        enqueued.add(row, job_id)
        assert enqueued.sources == {"Whale.png", "b.jpg"}
        store: Any = FakeStore([job])
        for written in (1, 0):
            done = export(with_jobs(enqueued.entries(), store), store, images, out, PLAIN, enqueued.sources)
            assert (done.written, lines(out / "results.jsonl")[0]["picture"]) == (written, "whale-blend.png")
    assert (out / "Whale.png").read_bytes() == png("red")


@pytest.mark.parametrize("stem", ["whale", "w" * 180], ids=["short", "as long as may be"])
def test_nor_does_another_name_of_a_blend_nor_a_quarter(images: ImageStore, out: Path, stem: str) -> None:
    """Such pictures are what an earlier run has left, or somebody's own crops."""
    out.mkdir(parents=True)
    sources = [f"{name}.png" for name in (stem, f"{stem}-2", f"{stem}-blend"[:180], f"{stem[:178]}.2")]
    for name in sources:
        (out / name).write_bytes(png("red"))
    (row, job_id), job = entry(images, 1, images=[str(out / name) for name in sources], custom_id=stem)
    with Enqueued(out.parent, out) as enqueued:
        enqueued.add(row, job_id)
        store: Any = FakeStore([job])
        for written in (1, 0):
            done = export(with_jobs(enqueued.entries(), store), store, images, out, Form(split=True), enqueued.sources)
            assert done.written == written
    assert [(out / name).read_bytes() == png("red") for name in sources] == [True] * 4
    (line,) = lines(out / "results.jsonl")
    assert len({line["picture"], *line["quarters"]} - set(sources)) == 5
    assert all((out / name).is_file() for name in (line["picture"], *line["quarters"]))


def test_a_source_is_known_however_long_its_path(images: ImageStore, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 100] * 3)
    (row, job_id), _ = entry(images, 1, images=[str(deep / "a.png"), str(deep / "b.png")])
    with Enqueued(tmp_path, deep) as enqueued:
        enqueued.add(as_told(row), job_id)
        assert enqueued.sources == {"a.png", "b.png"}


def test_editing_a_result_in_place_leaves_the_store_alone(images: ImageStore, out: Path) -> None:
    pair = entry(images, 1)
    exported(images, out, [pair])
    (out / "job_1.png").write_bytes(b"edited")
    assert pair[1].picture is not None
    with images.open(pair[1].picture.digest) as file:
        assert file.read() == png("#000001")


def test_a_folder_that_cannot_be_written(images: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BlendqError, match="choose another folder"):
        exported(images, tmp_path / "file" / "out", [entry(images, 1)])


def test_a_full_disk_leaves_the_last_results_whole(
    images: ImageStore, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported(images, out, [entry(images, 1)])
    before = (out / "results.jsonl").read_bytes()

    def full(*_args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(producer.files, "_copy", full)
    with pytest.raises(BlendqError, match="No space left"):
        exported(images, out, [entry(images, 1), entry(images, 2)])
    assert (out / "results.jsonl").read_bytes() == before
    assert not list(out.glob("results*.part"))


# --- the lines ----------------------------------------------------------------------------------------------------


def test_one_line_for_each_row_in_the_order_of_the_manifest(images: ImageStore, out: Path) -> None:
    url = "data:image/png;base64," + "iVBOR" * 100
    first, job = entry(images, 1, custom_id="x", state="s", metadata={"k": ["\u2028", "😀", 1.5]})
    second, _ = entry(images, 2, Status.PARKED, images=[url, "/in/b.png"])
    again = (Row(9, first[0].request.model_copy(update={"custom_id": "y", "state": None})), job.id)
    gone = (Row(10, first[0].request.model_copy(update={"custom_id": None})), "job_gone")
    summary = exported(images, out, [(first, job), (second, _), (again, job), (gone, job)])

    found = lines(out / "results.jsonl")
    assert [line["custom_id"] for line in found] == ["x", None, "y", None]
    assert [line["picture"] for line in found] == ["x.png", None, "y.png", None]
    assert [line["status"] for line in found] == ["succeeded", "parked", "succeeded", None]
    assert found[0] == {
        "id": "job_1",
        "custom_id": "x",
        "campaign": "c",
        "parent_id": None,
        "action": None,
        "status": "succeeded",
        "picture": "x.png",
        "images": ["/in/a.png", "/in/b.png"],
        "dimensions": "SQUARE",
        "bot_type": "MID_JOURNEY",
        "submissions": 1,
        "resubmissions": 0,
        "queued_answers": 0,
        "created_at": "2030-01-31T12:00:00.250Z",
        "finished_at": "2030-01-31T12:00:00.250Z",
        "reused_from": None,
        "reason": None,
        "seed": None,
        "metadata": {"k": ["\u2028", "😀", 1.5]},
        "state": "s",
        "upstream": {"name": "default", "task_id": "7", "code": 1, "description": "ok", "image_url": None},
    }
    assert (summary.total, summary.not_found, dict(summary.counts)) == (
        4, 1, {Status.SUCCEEDED: 2, Status.PARKED: 1},
    )  # fmt: skip
    text = "".join(path.read_text() for path in out.glob("*.*l*"))
    assert "iVBOR" not in text, "a picture's data must not be told (I8)"
    assert found[1]["images"][0] == "data:image/png;base64,… (522 characters)"


def test_errors_say_what_to_do_next(images: ImageStore, out: Path) -> None:
    states = [Status.SUCCEEDED, Status.FAILED, Status.PARKED, Status.CANCELLED, Status.RUNNING]
    exported(images, out, [entry(images, number, status) for number, status in enumerate(states)])
    errors = lines(out / "errors.jsonl")
    assert [(line["id"], line["line"], line["status"]) for line in errors] == [
        ("job_1", 3, "failed"),
        ("job_2", 4, "parked"),
        ("job_3", 5, "cancelled"),
        ("job_4", 6, "running"),
    ]
    words = ("retry", "pay again", "retry", "goes on")
    assert all(word in line["next_step"] for word, line in zip(words, errors, strict=True))


def test_a_picture_that_is_gone_from_the_store_is_an_error(images: ImageStore, out: Path) -> None:
    pair = entry(images, 1)
    stored = images.find(pair[1].picture.digest if pair[1].picture else "")
    assert stored is not None
    stored.path.unlink()
    exported(images, out, [pair])
    (error,) = lines(out / "errors.jsonl")
    assert (error["status"], error["picture"], error["reason"]["kind"]) == ("succeeded", None, "picture_missing")


def test_the_whole_record_has_the_apis_words_under_upstream_only(images: ImageStore) -> None:
    _, job = entry(images, 1)
    record = whole_record(job, [])
    assert record["attempts"][0]["upstream"]["task_id"] == "7"
    keys = set(re.findall(r'"([^"]+)":', json.dumps(record)))
    assert all(re.fullmatch(r"[a-z_]+", key) for key in keys)
    assert not {"task_id", "code", "image_url"} & set(record["attempts"][0])


def test_follow_ups_stand_behind_their_parent_under_its_name(images: ImageStore, out: Path) -> None:
    row, parent = entry(images, 1, custom_id="whale", metadata={"order": 17})
    (last, other), (_, upscale), (_, variation), (_, deep) = (entry(images, number) for number in (2, 3, 4, 5))

    def follows(job: Job, action: Action, of: Job) -> Job:
        return job.but(follows=Follows(job_id=of.id, order=0, action=action))

    parent = parent.but(follow_ups=("job_3", "job_4"))
    variation = follows(variation, Action.V1, parent).but(follow_ups=("job_5",))
    jobs = [parent, follows(upscale, Action.U2, parent), variation, follows(deep, Action.U4, variation)]
    store: Any = FakeStore([*jobs, other])
    summary = export(with_jobs([row, last], store), store, images, out, Form(split=True))

    assert (summary.total, summary.written) == (5, 5)
    found = lines(out / "results.jsonl")
    assert [line["id"] for line in found] == ["job_1", "job_3", "job_4", "job_5", "job_2"]
    names = ["whale", "whale-U2", "whale-V1", "whale-V1-U4"]
    assert [line["custom_id"] for line in found[:4]] == names
    assert [line["picture"] for line in found[:4]] == [f"{name}.png" for name in names]
    assert [(line["parent_id"], line["action"]) for line in found[1:4]] == [
        ("job_1", "U2"),
        ("job_1", "V1"),
        ("job_4", "U4"),
    ]
    assert all(line["metadata"] == {"order": 17} and line["images"] == found[0]["images"] for line in found[:4])
    assert ["quarters" in line for line in found] == [True, False, True, False, True], "an upscale is one picture"
    page = Page((out / "gallery.html").read_text())
    assert [text for text in page.text if text in names] == names
    assert sum(text.startswith("upscale 2 ·") for text in page.text) == 1


# --- what is written beside -------------------------------------------------------------------------------------------


def test_the_quarters_of_a_blend(images: ImageStore, out: Path) -> None:
    grid = Image.new("RGB", (41, 30))
    for index, color in enumerate(("red", "green", "blue", "white")):
        grid.paste(color, ((index % 2) * 20, (index // 2) * 15, (index % 2) * 20 + 20, (index // 2) * 15 + 15))
    file = io.BytesIO()
    grid.save(file, "PNG")
    stored = images.put_bytes(file.getvalue(), name="grid")
    (row, job_id), job = entry(images, 1, custom_id="x")
    assert job.picture is not None
    job = job.model_copy(update={"picture": job.picture.model_copy(update={"digest": stored.digest})})
    rival = entry(images, 2, custom_id="x.1")
    pairs = [((row, job_id), job), rival, entry(images, 3, Status.FAILED)]
    exported(images, out, pairs, Form(split=True))
    first, second, failed = lines(out / "results.jsonl")
    assert first["quarters"] == ["x.1.png", "x.2.png", "x.3.png", "x.4.png"]
    assert second["picture"] == "x.1-2.png", "names that collide get a number"
    assert "quarters" not in failed
    colors = []
    for name in first["quarters"]:
        with Image.open(out / name) as quarter:
            assert quarter.size == (20, 15)
            colors.append(quarter.getpixel((10, 7)))
    assert colors == [(255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)]
    before = {path: path.stat().st_ino for path in out.glob("*.png")}
    exported(images, out, pairs, Form(split=True))
    assert {path: path.stat().st_ino for path in out.glob("*.png")} == before, "nothing is written twice"


@pytest.mark.parametrize("size", [(1, 1), (1, 100_000), (40, 1)])
def test_a_blend_too_small_for_quarters_has_none(images: ImageStore, out: Path, size: tuple[int, int]) -> None:
    stored = images.put_bytes(png(size=size), name="a line")
    pair, job = entry(images, 1, custom_id="x")
    assert job.picture is not None
    job = job.but(picture=job.picture.but(digest=stored.digest, width=size[0], height=size[1]))
    exported(images, out, [(pair, job), entry(images, 2, custom_id="y")], Form(split=True))
    first, second = lines(out / "results.jsonl")
    assert first["picture"] == "x.png"
    assert ["quarters" in line for line in (first, second)] == [False, True]


def test_a_blend_over_pillows_own_limit_has_quarters(
    images: ImageStore, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = entry(images, 1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40 * 30 // 3)
    exported(images, out, [pair], Form(split=True))
    assert len(lines(out / "results.jsonl")[0]["quarters"]) == 4


def test_pictures_that_say_where_they_come_from(images: ImageStore, out: Path) -> None:
    pairs = [entry(images, 1, custom_id="x")]
    kept = images.find(pairs[0][1].picture.digest)  # type: ignore[union-attr]
    assert kept is not None
    before = kept.path.read_bytes()
    assert exported(images, out, pairs, Form(embed=True)).written == 1
    told = embedded(out / "x.png")
    assert told is not None
    assert (told["job"], told["custom_id"], told["images"]) == ("job_1", "x", ["a.png", "b.png"])
    assert kept.path.read_bytes() == before
    assert exported(images, out, pairs, Form(embed=True)).unchanged == 1
    assert exported(images, out, pairs).written == 1, "it is wanted as it came"
    assert (out / "x.png").read_bytes() == before
    assert exported(images, out, pairs, Form(embed=True)).written == 1


def test_names_by_a_template(images: ImageStore, out: Path) -> None:
    exported(images, out, [entry(images, 1, custom_id="a/b"), entry(images, 2)], Form("{number}_{custom_id}-{id}"))
    assert [line["picture"] for line in lines(out / "results.jsonl")] == ["3_a_b-job_1.png", "4_job_2-job_2.png"]


@pytest.mark.parametrize(
    "template", ["", "same", "{", "{}", "{0}", "{name}", "{id.x}", "{id[0]}", "{id!r}", "{id:>99}"]
)
def test_a_wrong_template(template: str) -> None:
    with pytest.raises(UsageError, match="name "):
        Form(template)


def test_a_table_for_spreadsheets(images: ImageStore, out: Path) -> None:
    evil = entry(images, 2, Status.FAILED, custom_id='two, "words"', metadata={"a": 1})
    evil = (evil[0], evil[1].model_copy(update={"reason": Reason(kind="invalid", message="=cmd()\nx")}))
    exported(images, out, [entry(images, 1, custom_id="é"), evil], Form(table=True))
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["custom_id"], first["picture"], first["status"]) == ("é", "é.png", "succeeded")
    assert first["images"] == "/in/a.png|/in/b.png"
    assert (second["custom_id"], second["picture"], second["metadata"]) == ('two, "words"', "", '{"a": 1}')
    assert (second["reason_kind"], second["reason"]) == ("invalid", "'=cmd()\nx"), "no formula"
    assert not (out / "results.csv.part").exists()


@pytest.mark.parametrize(
    ("custom_id", "cell"),
    [
        ('=HYPERLINK("http://x.test")', '\'=HYPERLINK("http://x.test")'),
        ("@SUM(1)", "'@SUM(1)"),
        ("-1+cmd|' /C calc'!A0", "'-1+cmd|' /C calc'!A0"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("-17", "-17"),
        ("+49,5", "+49,5"),
        ("a=b", "a=b"),
    ],
)
def test_no_cell_of_the_table_is_a_formula(images: ImageStore, out: Path, custom_id: str, cell: str) -> None:
    exported(images, out, [entry(images, 1, custom_id=custom_id, state=custom_id)], Form(table=True))
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["custom_id"], row["state"]) == (cell, cell)
    assert lines(out / "results.jsonl")[0]["custom_id"] == custom_id, "programs read this"

"""The pictures of a manifest: read once, named by digest, and never taken from outside a root."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.errors import ManifestError, RowProblem
from jobs.net.download import Downloads
from jobs.pictures.images import ImageStore
from jobs.request import is_digest
from producer.manifests.manifest import Row, good_rows, load_manifest, read_manifest
from producer.pictures import Pictures
from tests.unit.manifests import DIGEST, CountingStore, png, written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "campaign"


@pytest.fixture
def images(tmp_path: Path) -> CountingStore:
    return CountingStore(tmp_path / "store", max_bytes=10_000, max_pixels=1000)


def prepared(folder: Path, images: ImageStore, text: str, name: str = "m.csv") -> Iterator[Row | RowProblem]:
    return Pictures(images, Downloads(1)).prepare(read_manifest(written(folder, text, name)))


def test_pictures_are_stored_and_named_by_digest(folder: Path, images: CountingStore) -> None:
    for color in ("red", "green"):
        written(folder, png(color), f"{color}.png")
    url = "data:image/png;base64," + base64.b64encode(png("red")).decode()
    rows = list(prepared(folder, images, f'image1,image2\nred.png,green.png\n"{url}",red.png\n'))
    digests = [row.request.images for row in rows if isinstance(row, Row)]
    assert digests[0][0] == digests[1][0] == digests[1][1] != digests[0][1]
    assert all(is_digest(image) and images.find(image) for pair in digests for image in pair)
    again = list(prepared(folder, images, f"image1,image2\n{digests[0][0]},{digests[0][1]}\n"))
    assert [row.request.images for row in again if isinstance(row, Row)] == [digests[0]]


def test_every_picture_is_read_once_good_or_bad(folder: Path, images: CountingStore) -> None:
    written(folder, png("red"), "red.png")
    rows = list(prepared(folder, images, "image1,image2\n" + "red.png,none.png\n" * 10))
    assert images.reads == 2
    assert rows == [RowProblem(line, f"{folder}/none.png: no such file; check the name") for line in range(2, 12)]


def test_every_bad_picture_of_a_row_is_named_and_its_data_is_not(folder: Path, images: CountingStore) -> None:
    link = "http://127.0.0.1/a.png?key=SECRET"
    where = "the link leads to 127.0.0.1, which is not on the public internet"
    line = {"images": ["a.png", "a.png", "data:image/png;base64,SECRET", DIGEST, link]}
    (row,) = prepared(folder, images, json.dumps(line), "m.jsonl")
    assert isinstance(row, RowProblem)
    assert row.problem.split("; ")[::2] == [
        f"{folder}/a.png: no such file",
        "image 3: its base64 is broken",
        f"{DIGEST}: is not in the image store",
        f"{link.replace('SECRET', '***')}: the picture is not fetched: {where}",
    ]
    assert "SECRET" not in row.problem


def test_good_rows_come_first_and_then_what_is_wrong(folder: Path, images: CountingStore) -> None:
    text = "image1,image2,priority\nred.png,red.png,\nred.png,red.png,77\nred.png,none.png,\n"
    written(folder, png("red"), "red.png")
    rows = good_rows("m.csv", prepared(folder, images, text))
    assert next(rows).line == 2
    with pytest.raises(ManifestError) as caught:
        next(rows)
    assert [problem.line for problem in caught.value.problems] == [3, 4]


# --- a manifest of somebody else's: pictures cannot be taken from outside a root --------------------------------------

Service = Callable[[str], Row | RowProblem]


@pytest.fixture
def service(folder: Path, images: CountingStore) -> Service:
    """A folder with red.png, beside one with private.png; what comes of one row that names red.png and a picture."""
    written(folder, png("red"), "red.png")
    written(folder.parent / "elsewhere", png("black"), "private.png")

    def run(image: str) -> Row | RowProblem:
        path = written(folder, json.dumps({"images": ["red.png", image]}), "m.jsonl")
        (row,) = Pictures(images, Downloads(1), folder).prepare(read_manifest(path, folder))
        return row

    return run


@pytest.mark.parametrize(
    "image", ["red.png", "./red.png", "sub/../red.png", "sub/deep/blue.png", "link.png", "in/blue.png"]
)
def test_what_is_inside_of_the_root_is_taken(folder: Path, service: Service, image: str) -> None:
    written(folder / "sub", b"", "x")
    written(folder / "sub" / "deep", png("blue"), "blue.png")
    (folder / "link.png").symlink_to("sub/deep/blue.png")
    (folder / "in").symlink_to(folder / "sub" / "deep")
    assert isinstance(service(image), Row)


@pytest.mark.parametrize(
    "image",
    [
        "../elsewhere/private.png",
        "sub/../../elsewhere/private.png",
        "../campaign/../elsewhere/private.png",
        "link.png",
        "out/private.png",
        "chain/private.png",
        "../elsewhere/none.png",
        "..",
    ],
)
def test_nothing_outside_of_the_root_is_taken(folder: Path, service: Service, image: str) -> None:
    """One and the same answer, whether there is such a file or not; and no word about where the root is."""
    written(folder / "sub", b"", "x")
    (folder / "link.png").symlink_to(folder.parent / "elsewhere" / "private.png")
    (folder / "out").symlink_to("../elsewhere")
    (folder / "chain").symlink_to("sub/up")
    (folder / "sub" / "up").symlink_to("../../elsewhere")
    row = service(image)
    assert isinstance(row, RowProblem)
    assert "is outside the folder that pictures may come from" in row.problem
    assert str(folder.parent) not in row.problem


@pytest.mark.parametrize("image", ["/etc/passwd", "~/private.png", "~root/private.png", "//etc/passwd"])
def test_a_root_takes_relative_paths_only(folder: Path, service: Service, image: str) -> None:
    row = service(image)
    assert row == RowProblem(1, f"{image}: name pictures by paths that are relative to the manifest")
    inside = str(folder / "red.png")
    assert isinstance(service(inside), RowProblem), "also where it leads inside"


@pytest.mark.parametrize("image", ["none.png", "sub", "pipe", "a\0b", "loop", "red.png/x", "a" * 5000])
@pytest.mark.timeout(20)
def test_what_is_no_picture_inside_of_the_root(folder: Path, service: Service, image: str) -> None:
    written(folder / "sub", b"", "x")
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    row = service(image)
    assert isinstance(row, RowProblem)
    assert str(folder.parent) not in row.problem


@pytest.mark.parametrize("swapped", ["sub", "sub/blue.png"])
def test_a_link_that_is_put_there_in_between_is_not_followed(
    folder: Path, service: Service, swapped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst moment: the path was checked, and is not open yet."""
    written(folder / "sub", png("blue"), "blue.png")
    written(folder.parent / "elsewhere", png("black"), "blue.png")
    checked = os.path.realpath

    def swap(path: str) -> str:
        real = checked(path)
        if str(path).endswith("blue.png"):
            (folder / swapped).rename(folder / "moved")
            (folder / swapped).symlink_to(folder.parent / "elsewhere" / ("" if swapped == "sub" else "blue.png"))
        return real

    monkeypatch.setattr(os.path, "realpath", swap)
    row = service("sub/blue.png")
    assert isinstance(row, RowProblem)
    assert "sub/blue.png: " in row.problem


def test_the_command_line_may_name_any_path(folder: Path, images: CountingStore) -> None:
    private = written(folder.parent / "elsewhere", png("black"), "private.png")
    (row,) = prepared(folder, images, f"image1,image2\n{private},../elsewhere/private.png\n")
    assert isinstance(row, Row)


def test_a_whole_manifest_with_a_root(folder: Path) -> None:
    path = written(folder, "image1,image2\n/a,b\nb,~c\nb,c\n")
    with pytest.raises(ManifestError) as caught:
        load_manifest(path, root=folder)
    assert [problem.line for problem in caught.value.problems] == [2, 3]

"""The gallery: pages in which nothing of ours is code, that load nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

import producer.files
import producer.results.gallery
from jobs.job import Status
from jobs.pictures.images import ImageStore
from tests.unit.exports import EVIL, Page, entry, exported, png


def test_nothing_of_a_job_is_code_on_the_page(images: ImageStore, out: Path) -> None:
    evil = f"{EVIL}' onerror='x"
    pairs = [
        entry(images, 1, custom_id=evil, images=['/in/x" onerror="y.png', "javascript:alert(1)"]),
        entry(images, 2, Status.PARKED, custom_id=evil + "2"),
    ]
    pairs = [(row, job.but(campaign=EVIL)) for row, job in pairs]
    exported(images, out, pairs)
    page = Page((out / "gallery.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert {name for name, _ in page.attributes if name.startswith("on")} == set()
    assert not [value for value in page.values("href") + page.values("src") if ":" in value]
    assert evil in page.text
    assert f"no answer {EVIL}" in page.text
    assert 'x" onerror="y.png' in page.values("alt")


def test_the_page_loads_only_its_own_pictures(images: ImageStore, out: Path) -> None:
    exported(images, out, [entry(images, 1, custom_id="50%41 #1? ü")])
    page = Page((out / "gallery.html").read_text(encoding="utf-8"))
    (policy,) = [value for value in page.values("content") if "default-src" in value]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for address in page.values("src") + [link for link in page.values("href") if link]:
        assert (out / unquote(address)).is_file(), address
    assert all(page.values("alt"))
    assert "lazy" in page.values("loading")
    assert "style" not in {name for name, _ in page.attributes}


def test_thumbnails_are_made_once_and_small(images: ImageStore, out: Path) -> None:
    large = images.put_bytes(png("blue", (1500, 1000)), name="l")
    (row, job_id), job = entry(images, 1)
    assert job.picture
    job = job.but(picture=job.picture.but(digest=large.digest))
    exported(images, out, [((row, job_id), job)])
    thumbs = sorted((out / "thumbs").iterdir())
    with Image.open(out / "thumbs" / f"{large.digest[7:47]}-640.webp") as thumb:
        assert (thumb.format, thumb.size) == ("WEBP", (640, 427))
    assert len(thumbs) == 2
    before = [path.stat().st_mtime_ns for path in thumbs]
    exported(images, out, [((row, job_id), job)])
    assert [path.stat().st_mtime_ns for path in thumbs] == before


def test_a_link_where_a_thumbnail_is_written_is_not_followed(images: ImageStore, out: Path, tmp_path: Path) -> None:
    pair = entry(images, 1)
    picture = pair[1].picture
    assert picture
    (out / "thumbs").mkdir(parents=True)
    (tmp_path / "mine").write_text("stays")
    (out / "thumbs" / f"{picture.digest[7:47]}-640.webp.part").symlink_to(tmp_path / "mine")
    exported(images, out, [pair])
    assert (tmp_path / "mine").read_text() == "stays"
    assert not (out / "thumbs" / f"{picture.digest[7:47]}-640.webp").is_symlink()


def test_a_picture_that_cannot_be_made_small_is_shown_as_it_is(
    images: ImageStore, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.results.thumbnails.MAX_PIXELS", 10)
    exported(images, out, [entry(images, 1)])
    assert Page((out / "gallery.html").read_text()).values("src") == ["job_1.png"]


def test_many_cards_make_several_pages(images: ImageStore, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer.results.gallery, "PAGE_CARDS", 4)
    exported(images, out, [entry(images, number) for number in range(9)])
    pages = [(out / name).read_text() for name in ("gallery.html", "gallery-2.html", "gallery-3.html")]
    assert [page.count('<li class="card') for page in pages] == [4, 4, 1]
    assert all(f'href="{name}"' in pages[0] for name in ("gallery.html", "gallery-2.html", "gallery-3.html"))
    assert [f"job_{number}.png" in pages[1] for number in (3, 4, 7, 8)] == [False, True, True, False]
    exported(images, out, [entry(images, number) for number in range(4)])
    assert sorted(path.name for path in out.glob("gallery*")) == ["gallery.html"]


def test_a_filter_is_there_when_there_is_a_choice(images: ImageStore, out: Path) -> None:
    exported(images, out, [entry(images, 1)])
    assert 'type="radio"' not in (out / "gallery.html").read_text()
    exported(images, out, [entry(images, 1), entry(images, 2, Status.FAILED), entry(images, 3, Status.WAITING)])
    ids = re.findall(r'id="show-(\w+)"', (out / "gallery.html").read_text())
    assert ids == ["all", "succeeded", "failed", "unfinished"]


def test_an_empty_export_has_a_page_too(images: ImageStore, out: Path) -> None:
    summary = exported(images, out, [])
    assert summary.total == 0
    assert (out / "results.jsonl").read_bytes() == b""
    assert "No blends here." in summary.gallery.read_text()

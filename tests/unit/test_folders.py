"""Folders of pictures: which blends come of them, in which order, under which names."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import ManifestError, UsageError
from jobs.request import Dimensions
from producer.manifests.folders import Folders, Named, Pair
from producer.manifests.manifest import Row


def folder(place: Path, *names: str) -> Path:
    place.mkdir()
    for name in names:
        (place / name).write_bytes(b"")
    return place


def ids(*folders: Path, pair: Pair, **options: Any) -> list[str | None]:
    return [row.request.custom_id for row in Folders(folders, pair, **options).rows() if isinstance(row, Row)]


def test_natural_order_and_only_pictures(tmp_path: Path) -> None:
    place = folder(tmp_path / "a", "p10.png", "p9.JPG", "P1.webp", ".hidden.png", "notes.txt", "x.gif")
    (place / "sub.png").mkdir()
    assert ids(place, pair=Pair.CHAIN) == ["P1+p9", "p9+p10", "p10+x"]


def test_each_rule(tmp_path: Path) -> None:
    a = folder(tmp_path / "a", "1.png", "2.png", "3.png")
    b = folder(tmp_path / "b", "x.png", "y.png", "z.png")
    assert ids(a, pair=Pair.ALL) == ["1+2", "1+3", "2+3"]
    assert ids(a, pair=Pair.ALL, group=3) == ids(a, pair=Pair.CHAIN, group=3) == ["1+2+3"]
    assert ids(a, b, pair=Pair.ZIP) == ["1+x", "2+y", "3+z"]
    assert ids(a, b, pair=Pair.CROSS) == [f"{one}+{other}" for one in "123" for other in "xyz"]
    (first, *_) = Folders([a, b], Pair.ZIP, defaults={"dimensions": "PORTRAIT"}).rows()
    assert isinstance(first, Row)
    assert first.request.images == (str(a / "1.png"), str(b / "x.png"))
    assert first.request.dimensions is Dimensions.PORTRAIT


def test_forty_pictures_are_780_pairs(tmp_path: Path) -> None:
    found = ids(folder(tmp_path / "a", *(f"{n}.png" for n in range(40))), pair=Pair.ALL)
    assert len(found) == len(set(found)) == 780


@pytest.mark.parametrize(
    ("pair", "folders", "group"), [("all", 1, 2), ("all", 1, 4), ("chain", 1, 3), ("cross", 3, None)]
)
def test_a_sample_is_some_of_all_in_their_order(tmp_path: Path, pair: str, folders: int, group: int | None) -> None:
    places = [folder(tmp_path / str(n), *(f"{n}{m}.png" for m in range(7))) for n in range(folders)]
    every = ids(*places, pair=Pair(pair), group=group)
    for count in (1, 4, len(every) - 1, len(every), 10_000):
        some = ids(*places, pair=Pair(pair), group=group, sample=count, seed=3)
        assert some == [one for one in every if one in set(some)]
        assert len(some) == min(count, len(every))
    assert ids(*places, pair=Pair(pair), group=group, sample=4, seed=3) == ids(
        *places, pair=Pair(pair), group=group, sample=4, seed=3
    )
    assert ids(*places, pair=Pair(pair), group=group, limit=2) == every[:2]


def test_seeds_choose_differently(tmp_path: Path) -> None:
    place = folder(tmp_path / "a", *(f"{n}.png" for n in range(30)))
    assert len({tuple(ids(place, pair=Pair.ALL, sample=10, seed=seed)) for seed in range(5)}) == 5


def test_a_sample_of_a_million_millions_takes_no_time(tmp_path: Path) -> None:
    place = folder(tmp_path / "a", *(f"{n}.png" for n in range(1000)))
    assert len(ids(place, pair=Pair.ALL, group=5, sample=50)) == 50
    assert len(list(islice(Folders([place], Pair.ALL, group=5, limit=10).rows(), 20))) == 10
    with pytest.raises(UsageError, match="8,250,291,250,200 blends, over the limit"):
        Folders([place], Pair.ALL, group=5)


def test_a_sample_of_more_than_a_range_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [Named(Path(f"/{n}.png"), str(n)) for n in range(20_000)]
    monkeypatch.setattr("producer.manifests.folders._pictures_in", lambda _: pictures)
    found = ids(Path("a"), pair=Pair.ALL, group=5, sample=20, seed=1)
    assert len(set(found)) == 20
    assert found == ids(Path("a"), pair=Pair.ALL, group=5, sample=20, seed=1)


def test_pictures_that_differ_in_their_type_only_keep_it_in_the_name(tmp_path: Path) -> None:
    assert ids(folder(tmp_path / "a", "a.png", "a.jpg", "b.png"), pair=Pair.ALL) == [
        "a.jpg+a.png",
        "a.jpg+b",
        "a.png+b",
    ]


def test_long_names_are_cut(tmp_path: Path) -> None:
    place = folder(tmp_path / "a", *(f"{n}{'x' * 240}.png" for n in range(5)))
    (found,) = ids(place, pair=Pair.ALL, group=5)
    assert found is not None
    assert len(found) <= 200
    assert [part[0] for part in found.split("+")] == list("01234")


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    place = folder(tmp_path / "a", "a.png", "b\udcff.png")
    with pytest.raises(ManifestError, match="is not UTF-8; rename it"):
        Folders([place], Pair.ALL)

"""Folders of pictures as a source of rows: paired by a rule, made one at a time, however many they are."""

from __future__ import annotations

import math
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, islice, product
from pathlib import Path

from jobs.errors import InvalidRequest, ManifestError, RowProblem, UsageError
from jobs.request import MAX_CUSTOM_ID_CHARACTERS, MAX_IMAGES, MIN_IMAGES, BlendRequest
from producer.manifests.manifest import BLEND, Row
from producer.manifests.text import is_text

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif"})
# More of them are rather a typing error than a wish; and nobody would wait until they are checked.
MAX_BLENDS = 1_000_000
_JOINED_BY = "+"

Blend = tuple["Named", ...]


class Pair(StrEnum):
    """Which pictures are blended with which."""

    ALL = "all"
    ZIP = "zip"
    CHAIN = "chain"
    CROSS = "cross"


@dataclass(frozen=True)
class Named:
    """A picture, and what it is called in the ids of its blends."""

    path: Path
    label: str


@dataclass(frozen=True)
class _Pairing:
    """All blends of a rule: how many, one after the other, and the one at a place."""

    total: int
    each: Callable[[], Iterator[Blend]]
    at: Callable[[int], Blend]


class Folders:
    """The blends of some folders' pictures. The folders are listed once; every time the rows are the same.

    Args:
        folders: what is directly in them counts, in natural order (2 before 10); hidden files do not.
        pair: `all`: every combination of one folder's pictures; `chain`: each with those that follow it; `zip`: the
            n-th pictures of several folders; `cross`: each picture of a folder with each of the others.
        group: how many pictures a blend has, for `all` and `chain`.
        sample: only so many, chosen by chance, in their order; None for all.
        seed: the same seed chooses the same ones.
        limit: only the first so many.
        defaults: fields of each request.

    Raises:
        UsageError: the rule does not go with so many folders, or comes to too many blends.
        ManifestError: a folder cannot be read, or has too few pictures.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        pair: Pair,
        *,
        group: int | None = None,
        sample: int | None = None,
        seed: int = 0,
        limit: int | None = None,
        defaults: Mapping[str, object] | None = None,
    ) -> None:
        self.name = ", ".join(map(str, folders))
        self._defaults = dict(defaults or {})
        _check_rule(folders, pair, group)
        pairing = _PAIRINGS[pair]([_pictures_in(folder) for folder in folders], group or MIN_IMAGES)
        if not pairing.total:
            raise ManifestError(f"{self.name}: too few pictures for a blend of {group or MIN_IMAGES}")
        chosen = min([pairing.total, *(bound for bound in (sample, limit) if bound is not None)])
        if chosen > MAX_BLENDS:
            raise UsageError(
                f"{self.name}: this comes to {chosen:,} blends, over the limit of {MAX_BLENDS:,}; "
                "take fewer with --sample or --limit"
            )
        self._blends: Callable[[], Iterator[Blend]] = lambda: islice(_chosen(pairing, sample, seed), limit)

    def rows(self) -> Iterator[Row | RowProblem]:
        for number, blend in enumerate(self._blends(), 1):
            own = {"images": tuple(str(one.path) for one in blend), "custom_id": _custom_id(blend)}
            try:
                yield Row(number, BlendRequest.parse(self._defaults | own), unit=BLEND)
            except InvalidRequest as error:
                yield RowProblem(number, str(error), BLEND)

    def changed(self) -> None:
        """They were listed once, so they are the same."""


def _check_rule(folders: Sequence[Path], pair: Pair, group: int | None) -> None:
    if pair in (Pair.ALL, Pair.CHAIN):
        if len(folders) != 1:
            raise UsageError(f"--pair {pair} pairs the pictures of one folder, not of {len(folders)}; use zip or cross")
        return
    if not MIN_IMAGES <= len(folders) <= MAX_IMAGES:
        raise UsageError(f"--pair {pair} takes {MIN_IMAGES} to {MAX_IMAGES} folders, not {len(folders)}")
    if group is not None:
        raise UsageError(f"--group is for --pair all and chain; with {pair} a blend has one picture of each folder")


def _chosen(pairing: _Pairing, sample: int | None, seed: int) -> Iterator[Blend]:
    if sample is None or sample >= pairing.total:
        return pairing.each()
    return map(pairing.at, sorted(_places(random.Random(seed), pairing.total, sample)))  # noqa: S311  (no secret)


def _places(chance: random.Random, total: int, count: int) -> Collection[int]:
    if total <= sys.maxsize:
        return chance.sample(range(total), count)
    places: set[int] = set()  # all fives of 20,000 pictures are more than a range has room for
    while len(places) < count:
        places.add(chance.randrange(total))
    return places


# The rules ---------------------------------------------------------------------------------------------------------


def _all(folders: Sequence[Sequence[Named]], group: int) -> _Pairing:
    (pictures,) = folders
    return _Pairing(
        math.comb(len(pictures), group),
        lambda: combinations(pictures, group),
        lambda place: tuple(pictures[index] for index in _combination(len(pictures), group, place)),
    )


def _combination(count: int, group: int, place: int) -> Iterator[int]:
    """The combination at a place in the order in which `itertools.combinations` gives them."""
    first = 0
    for left in range(group - 1, -1, -1):
        while (following := math.comb(count - first - 1, left)) <= place:
            place -= following
            first += 1
        yield first
        first += 1


def _chain(folders: Sequence[Sequence[Named]], group: int) -> _Pairing:
    (pictures,) = folders
    total = max(0, len(pictures) - group + 1)

    def at(place: int) -> Blend:
        return tuple(pictures[place : place + group])

    return _Pairing(total, lambda: map(at, range(total)), at)


def _zip(folders: Sequence[Sequence[Named]], _group: int) -> _Pairing:
    counts = {len(pictures) for pictures in folders}
    if len(counts) > 1:
        each = ", ".join(str(len(pictures)) for pictures in folders)
        raise ManifestError(f"the folders have {each} pictures; --pair zip needs as many in each, by their order")
    return _Pairing(
        len(folders[0]),
        lambda: zip(*folders, strict=True),
        lambda place: tuple(pictures[place] for pictures in folders),
    )


def _cross(folders: Sequence[Sequence[Named]], _group: int) -> _Pairing:
    def at(place: int) -> Blend:
        chosen: list[Named] = []
        for pictures in reversed(folders):
            place, index = divmod(place, len(pictures))
            chosen.append(pictures[index])
        return tuple(reversed(chosen))

    return _Pairing(math.prod(map(len, folders)), lambda: product(*folders), at)


_PAIRINGS = {Pair.ALL: _all, Pair.CHAIN: _chain, Pair.ZIP: _zip, Pair.CROSS: _cross}

# What is in a folder -----------------------------------------------------------------------------------------------


def _pictures_in(folder: Path) -> list[Named]:
    try:
        files = [one for one in folder.absolute().iterdir() if one.suffix.lower() in SUFFIXES and one.is_file()]
    except OSError as error:
        raise ManifestError(f"{folder}: cannot be read ({error.strerror}); check the folder") from error
    files = sorted((one for one in files if not one.name.startswith(".")), key=lambda one: natural_key(one.name))
    if not files:
        raise ManifestError(f"{folder}: has no pictures ({', '.join(sorted(SUFFIXES))})")
    for file in files:
        if not is_text(str(file)):
            raise ManifestError(f"{str(file)!r}: its name is not UTF-8; rename it")
    stems = Counter(one.stem for one in files)
    return [Named(one, one.stem if stems[one.stem] == 1 else one.name) for one in files]


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sorts as people count.

    >>> sorted(["b10", "B9", "a", "b1"], key=natural_key)
    ['a', 'b1', 'B9', 'b10']
    """
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def _custom_id(blend: Blend) -> str:
    """The pictures' names, each cut where they would be too long together."""
    room = (MAX_CUSTOM_ID_CHARACTERS + 1) // len(blend) - len(_JOINED_BY)
    return _JOINED_BY.join(one.label[:room] for one in blend)

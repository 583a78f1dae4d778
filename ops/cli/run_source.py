"""What a run blends: a manifest, or folders of pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.errors import InvalidRequest, UsageError
from jobs.request import BlendRequest
from jobs.upstreams import check_named
from ops.cli.run_options import FOLDER_OPTIONS
from producer.manifests.folders import Folders, Pair
from producer.manifests.sources import Addressed, ManifestFile, Repeated, Source
from producer.results.export import ERRORS, RESULTS


def source_of(
    places: Sequence[Path],
    options: Mapping[str, Any],
    defaults: Mapping[str, Any],
    upstreams: Sequence[str],
    repeat: int = 1,
) -> Source:
    """
    Args:
        places: one manifest, or folders.
        options: those for folders.
        defaults: fields of every request.
        upstreams: the names of the APIs that rows may ask for.
        repeat: how many blends of each row.

    Raises:
        UsageError: the places and options do not go together, or the defaults are no fields of a request.
        ManifestError: a folder cannot be read, or has too few pictures.
    """
    _check(defaults, upstreams)
    source = Addressed(_source(places, options, defaults), upstreams)
    return Repeated(source, repeat) if repeat > 1 else source


def _source(places: Sequence[Path], options: Mapping[str, Any], defaults: Mapping[str, Any]) -> Source:
    given = {name: options[name] for name in FOLDER_OPTIONS if options[name] is not None}
    folders = [place for place in places if os.path.isdir(place)]  # noqa: PTH112  (never raises)
    if folders and len(folders) < len(places):
        raise UsageError("give one manifest, or folders of pictures, not both")
    if not folders:
        if len(places) > 1:
            raise UsageError(f"give one manifest, not {len(places)}")
        if given:
            raise UsageError(f"--{next(iter(given))} is for folders of pictures; {places[0]} is none")
        return ManifestFile(places[0], defaults)
    if "pair" not in given:
        raise UsageError(
            f"{folders[0]}: is a folder; say which of its pictures are blended: --pair all or chain (of one folder), "
            "zip or cross (of several)"
        )
    if "seed" in given and "sample" not in given:
        raise UsageError("--seed is for --sample; add it, or leave --seed out")
    return Folders(places, Pair(given.pop("pair")), **given, defaults=defaults)


def keep_apart(places: Sequence[Path], out: Path) -> None:
    """
    Raises:
        UsageError: the blends would be pictures of a folder, to be blended and paid for by the next run; or the results
            would take the place of the manifest.
    """
    for place in places:
        if os.path.realpath(place) in {os.path.realpath(out / name) for name in (RESULTS, ERRORS)}:
            raise UsageError(
                f"{place}: is where the results would be written; call the manifest otherwise, or choose another "
                "folder with --out"
            )
        if os.path.isdir(place) and os.path.realpath(place) == os.path.realpath(out):  # noqa: PTH112  (never raises)
            raise UsageError(
                f"folder {out}: has the pictures to blend, and the same line again would blend the blends; choose "
                "another with --out, such as one in it"
            )


def _check(defaults: Mapping[str, Any], upstreams: Sequence[str]) -> None:
    try:
        check_named(BlendRequest.parse({"images": ["a", "b"], **defaults}).upstream, upstreams)
    except InvalidRequest as error:
        raise UsageError(f"the options for every blend: {error}") from error

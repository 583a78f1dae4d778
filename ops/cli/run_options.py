"""The options of `blendq run`, by what they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from jobs.request import MAX_IMAGES, MIN_IMAGES

F = TypeVar("F", bound=Callable[..., Any])
FOLDER_OPTIONS = ("pair", "group", "sample", "seed", "limit")
PAIRS = ("all", "zip", "chain", "cross")


def folder_options(command: F) -> F:
    """What is blended with what; for folders."""
    return _with(
        command,
        click.option("--pair", type=click.Choice(PAIRS),
                     help="Of one folder: all combinations, or chain (a-b, b-c); of several: zip, or cross."),
        click.option("--group", type=click.IntRange(MIN_IMAGES, MAX_IMAGES), metavar="N",
                     help="Pictures in a blend, with --pair all and chain (default 2)."),
        click.option("--sample", type=click.IntRange(1), metavar="N", help="Only N of a folder's blends, by chance."),
        click.option("--seed", type=int, metavar="S", help="Another choice of the sample (default 0)."),
        click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N of a folder's blends."),
    )  # fmt: skip


def _with(command: F, *options: Callable[[F], F]) -> F:
    for option in reversed(options):
        command = option(command)
    return command

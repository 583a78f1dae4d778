"""The options of `blendq run`, by what they are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

import click

from jobs.errors import UsageError
from jobs.request import MAX_IMAGES, MIN_IMAGES
from jobs.settings import Settings
from ops.cli.options import share
from ops.cli.values import Number

F = TypeVar("F", bound=Callable[..., Any])
PLAN_OPTIONS = ("max_submissions", "max_cost", "price", "stop_after_failures", "weight")
FOLDER_OPTIONS = ("pair", "group", "sample", "seed", "limit")
FORMATS = ("png", "jpeg", "webp")
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


name_option = click.option(
    "--name",
    "name_template",
    default="{custom_id}",
    show_default=True,
    metavar="TEMPLATE",
    help="The pictures' names, of {custom_id}, {id} and {number} (the row's).",
)


embed_option = click.option(
    "--embed", is_flag=True, help="Write into each picture which job it is, and what was blended; no pixel changes."
)


def picture_options(command: F) -> F:
    """What becomes of pictures: before they are sent, and when they come back."""
    return _with(
        command,
        click.option("--max-side", type=click.IntRange(16, 16384), metavar="PX",
                     help="Send larger pictures smaller, at most so wide and high. Your files stay as they are."),
        click.option("--format", "picture_format", type=click.Choice(FORMATS), help="Send pictures in this format."),
        click.option("--split", is_flag=True, help="Write the four quarters of each blend beside it, too."),
        embed_option,
        name_option,
    )  # fmt: skip


def plan_options(command: F) -> F:
    """How far the campaign may go; `plan_changes` reads them."""
    return _with(
        command,
        click.option("--max-submissions", type=click.IntRange(1), metavar="N",
                     help="Pause the campaign when so many are, or may be, paid for, over all its runs."),
        click.option("--max-cost", type=Number(0, min_open=True), metavar="AMOUNT",
                     help="The same as an amount, at the price of one."),
        click.option("--price", type=Number(0, min_open=True), metavar="AMOUNT",
                     help="What one submission costs (default: BLENDQ_PRICE_PER_JOB)."),
        click.option("--stop-after-failures", metavar="PERCENT",
                     help="Pause the campaign when so many of its finished jobs failed, as 20%."),
        click.option("--weight", type=Number(0, 1000, min_open=True), metavar="W",
                     help="The campaign's share of the slots, beside others' (default 1)."),
    )  # fmt: skip


def plan_changes(options: Mapping[str, Any], settings: Settings) -> dict[str, object]:
    """What the options change in the campaign's plan.

    Raises:
        UsageError: no percentage, a budget without a price, or one that is less than a single submission.
    """
    changes: dict[str, object] = {} if options["weight"] is None else {"weight": options["weight"]}
    if options["stop_after_failures"] is not None:
        changes["stop_after_failures"] = share(options["stop_after_failures"])
    bounds = [options["max_submissions"], _affordable(options["max_cost"], settings.price_per_job)]
    if given := [bound for bound in bounds if bound is not None]:
        changes["max_submissions"] = min(given)
    return changes


def _affordable(cost: float | None, price: float | None) -> int | None:
    if cost is None:
        return None
    if price is None:
        raise UsageError("--max-cost needs the price of a submission: add --price, or set BLENDQ_PRICE_PER_JOB")
    if not (count := int(Decimal(str(cost)) // Decimal(str(price)))):
        raise UsageError(f"--max-cost {cost:g} does not pay for one submission at {price:g}")
    return count


def _with(command: F, *options: Callable[[F], F]) -> F:
    for option in reversed(options):
        command = option(command)
    return command

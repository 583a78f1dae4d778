"""One option for each field of a request, the same for one blend and for a run of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

import click

from jobs.errors import UsageError
from jobs.request import BotType, Dimensions, Mode

F = TypeVar("F", bound=Callable[..., Any])


def request_options(command: F) -> F:
    """The fields that many blends may share; `request_fields` reads them."""
    options = [
        click.option("--dimensions", type=_choice(Dimensions), help="The shape (default SQUARE)."),
        click.option("--bot-type", type=_choice(BotType), help="The bot (default MID_JOURNEY)."),
        click.option("--mode", "modes", type=_choice(Mode), multiple=True, help="Only accounts in these modes."),
        click.option("--instance-id", metavar="ID", help="Only the account of this id."),
        click.option("--upstream", metavar="NAME", help="Only the API of this name, one of BLENDQ_UPSTREAMS."),
        click.option("--remix/--no-remix", default=None, help="Only accounts with this remix setting."),
        click.option("--remix-auto-considered/--no-remix-auto-considered", default=None,
                     help="Whether an account that submits remix by itself counts as one without."),
        click.option("--state", metavar="TEXT", help="Your own text; the API hands it back where it fits."),
        click.option("--priority", type=click.IntRange(0, 9), help="9 goes first (default 0)."),
        click.option("--then", metavar="ACTIONS",
                     help="What is wanted of the finished blend, each paid for: U1 to U4, V1 to V4, R; as U1,V3."),
        click.option("--metadata", metavar="JSON", help="A JSON object of yours, kept with the job."),
        click.option("--notify-hook", metavar="URL", help="Your own webhook address."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _choice(kind: type[StrEnum]) -> click.Choice[str]:
    return click.Choice([one.value for one in kind], case_sensitive=False)


def request_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request that were given.

    Raises:
        UsageError: the metadata is no JSON.
    """
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if "then" in given:
        given["then"] = given["then"].upper().replace(",", " ").split()
    if "metadata" in given:
        try:
            given["metadata"] = json.loads(given["metadata"])
        except ValueError as error:
            raise UsageError(f"--metadata is not JSON ({error}); it must look like '{{\"a\": 1}}'") from error
    return given

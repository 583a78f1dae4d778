"""Options that several commands share, and what they mean together."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any, TypeVar

import click

from jobs.errors import UsageError
from jobs.settings import Settings
from ops.cli.values import Number
from ops.local import SANDBOX_SPEED, SandboxChoice

F = TypeVar("F", bound=Callable[..., Any])

PERSONALITIES = ("open-source", "plus", "community", "gateway", "again")


reuse_option = click.option(
    "--reuse", is_flag=True, help="Take the picture of the same blend in any other campaign; nothing is paid for it."
)


def sandbox_options(command: F) -> F:
    """`--sandbox[=PERSONALITY]` and `--speed`."""
    sandbox = click.option(
        "--sandbox",
        type=click.Choice(PERSONALITIES),
        help="Use a simulated API instead of a real one; nothing is paid. Bare: open-source. Its jobs are kept apart.",
    )
    speed = click.option(
        "--speed",
        type=Number(0, 10_000, min_open=True),
        help=f"How many times faster than life the sandbox works (default {SANDBOX_SPEED:g}).",
    )
    return sandbox(speed(command))


def sandbox_choice(settings: Settings, sandbox: str | None, speed: float | None) -> SandboxChoice | None:
    """What the two options come to.

    Raises:
        UsageError: there is neither a sandbox nor an API; or a speed without a sandbox.
    """
    if sandbox is not None:
        return SandboxChoice(sandbox, SANDBOX_SPEED if speed is None else speed)
    if speed is not None:
        raise UsageError("--speed is the sandbox's; add --sandbox, or leave it out")
    if not settings.apis:
        raise UsageError(
            "no API is configured. Set BLENDQ_API_URL and BLENDQ_API_KEY (and BLENDQ_PUBLIC_URL where the API can call "
            "back; without it blendq asks), or try it with --sandbox"
        )
    return None


def place_words(settings: Settings, choice: SandboxChoice | None) -> str:
    """What a further command needs in order to find the same jobs."""
    words = [f"--sandbox={choice.personality}"] if choice else []
    if "data_dir" in settings.model_fields_set:
        words += ["--data-dir", str(settings.data_dir)]
    return "".join(f" {shlex.quote(word)}" for word in words)


def share(text: str) -> float:
    """`20%` -> 0.2

    Raises:
        UsageError: it is no percentage.
    """
    if (match := re.fullmatch(r"\s*([0-9]{1,3}(?:\.[0-9]+)?)\s*%?\s*", text)) is None or not 0 < float(match[1]) <= 100:
        raise UsageError(f"{text[:40]!r} is no percentage; give 20% for a fifth")
    return float(match[1]) / 100

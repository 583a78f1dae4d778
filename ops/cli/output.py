"""What the commands have in common: data on stdout, everything else on stderr."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from ops.cli.values import Folder

F = TypeVar("F", bound=Callable[..., Any])


def data_dir_option(command: F) -> F:
    """`--data-dir`: None when it is not given, so that the setting holds."""
    return click.option(
        "--data-dir",
        type=Folder(),
        metavar="DIR",
        help="Where records and pictures are kept (default: BLENDQ_DATA_DIR, else ~/.local/state/blendq).",
    )(command)


def json_option(command: F) -> F:
    """`--json`, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout, and nothing else there.")(
        command
    )


def print_any_name() -> None:
    """What stdout cannot encode is written as `\\udcff`, as on stderr: the name of a file need not be text."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def print_json(value: Any) -> None:
    """One JSON value on one line."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


def print_pairs(pairs: Mapping[str, object]) -> None:
    """Names and values in two columns."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        click.echo(f"{name:<{width}}  {value}")


def duration(seconds: float) -> str:
    """
    >>> duration(42.4), duration(125), duration(7322)
    ('42 s', '2 min 5 s', '2 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"

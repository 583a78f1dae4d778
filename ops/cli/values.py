"""Kinds of values that options take, stricter than click's own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click


class Number(click.FloatRange):
    """A number within bounds, if any. Of click's, `nan` is within all of them."""

    name = "number"

    def _describe_range(self) -> str:
        """For `--help`; where there are no bounds click says "x<=None"."""
        unbounded = self.min is None and self.max is None
        return "" if unbounded else super()._describe_range()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return found


class Folder(click.Path):
    """A folder's name. An empty one is a variable of the shell that is not set, and would be the folder one is in."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty; name a folder, or leave it out.", param, ctx)
        return super().convert(value, param, ctx)

"""`blendq settings`: every setting, its default, and where its value comes from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click
from pydantic import SecretStr

from jobs.errors import SettingsError
from jobs.settings import CONFIG_VARIABLE, PREFIX, Settings
from ops.cli.output import data_dir_option, json_option, print_json


@click.command()
@data_dir_option
@json_option
def settings(data_dir: Path | None, as_json: bool) -> int:
    """List every setting: its variable, value, where that comes from, default and meaning.

    A setting is an environment variable, or a line of the TOML file that BLENDQ_CONFIG names (there without BLENDQ_
    and in small letters). Secrets are only said to be set or not.
    """
    problem = None
    try:
        rows = describe(os.environ, data_dir)
    except SettingsError as found:  # this list is where its text sends people
        problem, rows = found, describe({}, data_dir)
    _print(rows, as_json)
    if problem:
        raise problem
    return 0


def _print(rows: Sequence[Mapping[str, str]], as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    for row in rows:
        click.echo(f"{row['variable']} = {row['value']}  ({row['source']}; default {row['default']})")
        if row["description"]:
            click.echo(f"    {row['description']}")


def describe(environ: Mapping[str, str], data_dir: Path | None = None) -> list[dict[str, str]]:
    """One row for each setting, in the order of `Settings`.

    Raises:
        SettingsError: a setting is unknown or malformed.
    """
    now = Settings.load(environ, data_dir=data_dir)
    in_file = Settings.load({CONFIG_VARIABLE: environ.get(CONFIG_VARIABLE, "")}).model_fields_set
    return [
        {
            "name": name,
            "variable": PREFIX + name.upper(),
            "value": _shown(name, getattr(now, name)),
            "default": _shown(name, field.get_default(call_default_factory=True, validated_data={})),
            "source": _source(name, environ, in_file, data_dir),
            "description": field.description or "",
        }
        for name, field in Settings.model_fields.items()
    ]


def _source(name: str, environ: Mapping[str, str], in_file: set[str], data_dir: Path | None) -> str:
    if name == "data_dir" and data_dir is not None:
        return "--data-dir"
    if environ.get(PREFIX + name.upper()):
        return "environment"
    return "file" if name in in_file else "default"


def _shown(name: str, value: object) -> str:
    """A value for people; never a secret, nor a password inside a URL (I8)."""
    if isinstance(value, SecretStr):
        return "set"
    if value in (None, ()):
        return "not set"
    if isinstance(value, tuple):
        return ", ".join(f"{one.name} ({one.url}, key {'set' if one.key else 'not set'})" for one in value)
    text = str(value)
    if name == "redis_url" and (password := urlsplit(text).password):
        return text.replace(password, "***")
    return text

"""`blendq token …`: who may use the HTTP API."""

from __future__ import annotations

from pathlib import Path

import click

from jobs.errors import UsageError
from jobs.report import rfc3339
from ops.cli.output import print_json
from ops.cli.place import Place, place_options
from ops.notes import note
from producer.tokens import Scope


@click.group()
def token() -> None:
    """Say who may use the HTTP API. Only a digest of each token is kept, so it is shown once."""


@token.command("create")
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice([scope.value for scope in Scope]),
    default=Scope.WRITE.value,
    show_default=True,
    help="read: look; write: also jobs and pictures; admin: also orders to whole campaigns.",
)
@place_options
def create_token(name: str, scope: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Make a token, and print it. It counts at once, and from then on nobody is let in without one."""
    with Place(data_dir, sandbox).producer() as producer:
        made = producer.tokens.create(name, Scope(scope))
    print_json({"name": name, "scope": scope, "token": made}) if as_json else click.echo(made)
    note("keep it now: it cannot be shown again")
    return 0


@token.command("list")
@place_options
def list_tokens(sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """List the tokens: their names, scopes and ages; not the tokens themselves."""
    with Place(data_dir, sandbox).producer() as producer:
        found = producer.tokens.all()
    if as_json:
        print_json([{"name": one.name, "scope": one.scope, "created_at": rfc3339(one.created_at)} for one in found])
        return 0
    for one in found:
        click.echo(f"{one.name}  {one.scope}  {rfc3339(one.created_at)}")
    if not found:
        note("there are no tokens")
    return 0


@token.command("revoke")
@click.argument("name")
@place_options
def revoke_token(name: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """From now on the token is not let in."""
    with Place(data_dir, sandbox).producer() as producer:
        if not producer.tokens.revoke(name):
            raise UsageError(f"there is no token {name!r}; `blendq token list` shows what there is")
    print_json({"name": name, "revoked": True}) if as_json else note(f"{name} is not let in any more")
    return 0

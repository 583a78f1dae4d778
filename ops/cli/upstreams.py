"""`blendq upstream …`: the API that jobs go to, as blendq sees it."""

from __future__ import annotations

from pathlib import Path

import click

from jobs.errors import UsageError
from jobs.report import rfc3339
from jobs.slots.throttle import Move
from ops.cli.output import print_json, print_pairs
from ops.cli.place import Place, place_options
from producer.upstream import NAME, Upstream, move_json

MOVES_SHOWN = 10


@click.group()
def upstream() -> None:
    """Look at the API that jobs go to: how many at once, how it answers, and why the slots last changed."""


@upstream.command("list")
@place_options
def list_upstreams(sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """List the APIs with their slots."""
    found = _look(Place(data_dir, sandbox))
    if as_json:
        print_json([found.to_json()])
    else:
        click.echo(f"{NAME}  {_slots(found)}  {_shares(found)}  {_state(found)}")
    return 0


@upstream.command("show")
@click.argument("name", default=NAME)
@place_options
def show(name: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Show one, with the last changes of its slots and why."""
    if name != NAME:
        raise UsageError(f"there is no upstream {name}; the one there is is called {NAME}")
    found = _look(Place(data_dir, sandbox))
    if as_json:
        print_json(found.to_json() | {"moves": [move_json(move) for move in found.moves]})
        return 0
    told = found.to_json()
    print_pairs(
        {
            "url": told["url"] or "not set",
            "slots": _slots(found),
            "working": f"{told['working']} are worked on, {told['waiting']} wait there",
            "last hour": _shares(found),
            "now": _state(found),
            "why": told["why"],
        }
    )
    for move in found.moves[:MOVES_SHOWN]:
        click.echo(_line(move))
    return 0


def _look(place: Place) -> Upstream:
    with place.known_jobs() as producer:
        return Upstream.of(producer.store, place.settings)


def _slots(found: Upstream) -> str:
    return f"{found.seen.held} of {found.slots} slots in use" + (
        "" if found.limit is None else " (a number that is set)"
    )


def _shares(found: Upstream) -> str:
    shares = ", ".join(f"{share:.1%} {code}" for code, share in found.shares.items())
    return f"answers: {shares}" if shares else "no answers yet"


def _state(found: Upstream) -> str:
    if found.pause:
        return f"paused: {found.pause.message}"
    return "turns jobs away: one at a time" if found.flow.trouble else "takes jobs"


def _line(move: Move) -> str:
    slots = f"{move.before} -> {move.after}" if move.before != move.after else f"{move.after}"
    return f"{rfc3339(move.at)}  {slots:<10}  {move.why}"

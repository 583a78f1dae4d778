"""`blendq upstream …`: the APIs that jobs go to, as blendq sees them."""

from __future__ import annotations

from pathlib import Path

import click

from jobs.errors import UsageError
from jobs.report import rfc3339
from jobs.slots.throttle import Move
from ops.cli.output import print_json, print_pairs
from ops.cli.place import Place, place_options
from producer.upstream import DoorReport, UpstreamReport, move_json, reports

MOVES_SHOWN = 10


@click.group()
def upstream() -> None:
    """Look at the APIs that jobs go to: how many at once, how they answer, and why the slots last changed."""


@upstream.command("list")
@place_options
def list_upstreams(sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """List the APIs with their slots."""
    found = _look(Place(data_dir, sandbox))
    if as_json:
        print_json([one.to_json() for one in found])
        return 0
    for one in found:
        click.echo(f"{one.name}  {_slots(one.door)}  {_shares(one.door)}  {_state(one)}")
        for door in one.others:
            click.echo(f"  {door.name}  {_slots(door)}  {_shares(door)}")
    return 0


@upstream.command("show")
@click.argument("name", required=False)
@place_options
def show(name: str | None, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Show one, with the last changes of its slots and why; without a name the first."""
    found = _look(Place(data_dir, sandbox))
    one = next((one for one in found if name in (None, one.name)), None)
    if one is None:
        there_are = ", ".join(one.name for one in found)
        raise UsageError(f"there is no upstream {name}; there is {there_are}")
    if as_json:
        print_json(one.to_json() | {"moves": [move_json(move) for move in one.door.moves]})
        return 0
    told = one.to_json()
    print_pairs(
        {
            "url": told["url"] or "not set",
            **_terms(one),
            "slots": _slots(one.door),
            "working": f"{told['working']} are worked on, {told['waiting']} wait there",
            "last hour": _shares(one.door),
            "now": _state(one),
            "why": told["why"],
            **{door.name: f"{_slots(door)}, {_shares(door)}; {door.flow.why}" for door in one.others},
        }
    )
    for move in one.door.moves[:MOVES_SHOWN]:
        click.echo(_line(move))
    return 0


def _look(place: Place) -> list[UpstreamReport]:
    with place.known_jobs() as producer:
        return reports(producer.store, place.settings)


def _terms(one: UpstreamReport) -> dict[str, str]:
    """What the settings say of which jobs it is given, where they say something."""
    if one.settings is None:
        return {}
    weight, modes, instances = one.settings.weight, one.settings.modes, one.settings.instances
    told = {
        "weight": f"{weight:g}" if weight != 1 else "",
        "modes": ", ".join(modes),
        "instances": ", ".join(instances),
    }
    return {name: value for name, value in told.items() if value}


def _slots(door: DoorReport) -> str:
    return f"{door.seen.held} of {door.slots} slots in use" + ("" if door.limit is None else " (a number that is set)")


def _shares(door: DoorReport) -> str:
    shares = ", ".join(f"{share:.1%} {code}" for code, share in door.shares.items())
    return f"answers: {shares}" if shares else "no answers yet"


def _state(one: UpstreamReport) -> str:
    if one.stray:
        return f"{one.stray_words}: {one.STRAY_ADVICE}"
    if one.pause:
        return f"paused: {one.pause.message}"
    return "turns jobs away: one at a time" if one.door.flow.trouble else "takes jobs"


def _line(move: Move) -> str:
    slots = f"{move.before} -> {move.after}" if move.before != move.after else f"{move.after}"
    return f"{rfc3339(move.at)}  {slots:<10}  {move.why}"

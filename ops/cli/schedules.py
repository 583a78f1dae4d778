"""`blendq schedule …`: manifests that are enqueued by the clock."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from jobs.errors import UsageError
from jobs.report import rfc3339
from jobs.schedule import Outcome, Overlap, Ran, Schedule
from jobs.schedules import Run, Schedules
from ops.cli import INTERRUPTED
from ops.cli.output import data_dir_option, print_json
from ops.cli.place import Place, place_options
from ops.cli.values import Number
from ops.notes import note
from producer.campaign import check_name
from producer.client import Producer

NEXT_TIMES = 3
FAILED = 4


@click.group()
def schedule() -> None:
    """Enqueue manifests by the clock. A scheduler has to run: `blendq up` has one, `blendq scheduler` is one."""


@contextmanager
def _open(place: Place) -> Iterator[tuple[Producer, Schedules]]:
    with place.producer() as producer:
        yield producer, producer.schedules


@schedule.command("add")
@click.argument("name")
@click.argument("manifest")
@click.option("--cron", metavar="EXPR", help="Minute, hour, day, month, weekday: '0 3 * * *' is every night at three.")
@click.option(
    "--every", "every_seconds", type=Number(), metavar="SECONDS", help="Instead: again and again after so long."
)
@click.option("--timezone", metavar="ZONE", help="Of the cron expression, as Europe/Berlin (default UTC).")
@click.option(
    "--overlap",
    type=click.Choice([one.value for one in Overlap]),
    help="While the run before is unfinished: leave the next out (default), let it wait, or begin it.",
)
@click.option(
    "--catch-up",
    "catch_up_seconds",
    type=Number(),
    metavar="SECONDS",
    help="A run that comes later than this is left out (default 3600).",
)
@place_options
def add_schedule(
    name: str, manifest: str, sandbox: str | None, data_dir: Path | None, as_json: bool, **fields: Any
) -> int:
    """Add a schedule, or put it in the place of the one of its name.

    MANIFEST is read at each run, and may hold * and ?. Each run is a campaign of its own, named by its time.

    \b
    blendq schedule add nightly 'incoming/*.csv' --cron '0 3 * * *' --timezone Europe/Berlin
    blendq schedule add often pairs.jsonl --every 600 --overlap queue
    """
    check_name(name)
    made = Schedule.parse(name=name, manifest=str(Path(manifest).expanduser().absolute()), **fields)
    with _open(Place(data_dir, sandbox)) as (_, schedules):
        schedules.put(made)
        return _tell(schedules, made, "added", as_json)


@schedule.command("list")
@place_options
def list_schedules(sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """List all schedules with their next times."""
    with _open(Place(data_dir, sandbox)) as (_, schedules):
        found, now = schedules.all(), schedules.now()
    if as_json:
        print_json([_json(one, now) for one in found])
        return 0
    for one in found:
        click.echo(_line(one, now))
    if not found:
        note("there are no schedules yet")
    return 0


@schedule.command("show")
@click.argument("name")
@place_options
def show_schedule(name: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Show a schedule, and what became of its last runs."""
    with _open(Place(data_dir, sandbox)) as (_, schedules):
        found, runs, now = schedules.get(name), schedules.runs(name), schedules.now()
    if as_json:
        print_json({**_json(found, now), "runs": [_ran_json(ran) for ran in runs]})
        return 0
    click.echo(_line(found, now))
    for ran in runs:
        click.echo(
            f"  {rfc3339(ran.at)}  {ran.outcome:<8}  {ran.campaign or '':<30}  {ran.message or f'{ran.jobs} jobs'}"
        )
    return 0


@schedule.command("pause")
@click.argument("name")
@place_options
def pause_schedule(name: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Let no further run begin."""
    with _open(Place(data_dir, sandbox)) as (_, schedules):
        return _pause(schedules, name, True, as_json)


@schedule.command("resume")
@click.argument("name")
@place_options
def resume_schedule(name: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Go on from now; what was left out meanwhile is not made up for."""
    with _open(Place(data_dir, sandbox)) as (_, schedules):
        return _pause(schedules, name, False, as_json)


def _pause(schedules: Schedules, name: str, paused: bool, as_json: bool) -> int:
    return _tell(schedules, schedules.pause(name, paused), "paused" if paused else "it goes on", as_json)


@schedule.command("remove")
@click.argument("name")
@place_options
def remove_schedule(name: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Forget a schedule. The campaigns of its runs stay."""
    with _open(Place(data_dir, sandbox)) as (_, schedules):
        schedules.remove(name)
    print_json({"name": name, "message": "removed"}) if as_json else click.echo(f"{name}: removed")
    return 0


@schedule.command("run")
@click.argument("name")
@place_options
def run_schedule(name: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Begin a run now, beside those of the clock."""
    from producer.scheduler import Scheduler  # noqa: PLC0415  (loads more than the other commands need)

    place, interrupted = Place(data_dir, sandbox), False
    with _open(place) as (producer, schedules):
        found = schedules.get(name).model_copy(update={"overlap": Overlap.ALLOW})
        run = Run(name, schedules.now())
        try:
            ran = Scheduler(producer, schedules).perform(found, run)
        except KeyboardInterrupt:
            if producer.store.campaign_began(found.campaign_of(run.at)) is None:
                raise
            interrupted, ran = True, _interrupted(found, run, place)
        if ran is None:
            raise UsageError("the run is not over")
        schedules.done(run, ran)
    if as_json:
        print_json({"name": name, **_ran_json(ran)})
    else:
        click.echo(f"{name}: {ran.outcome}, {ran.message or f'{ran.jobs} jobs as campaign {ran.campaign}'}")
    if interrupted:
        return INTERRUPTED
    return FAILED if ran.outcome is Outcome.FAILED else 0


def _interrupted(one: Schedule, run: Run, place: Place) -> Ran:
    """The same command again would not go on with it: each run is a campaign of its own."""
    campaign = one.campaign_of(run.at)
    words = (
        f"interrupted; what was enqueued goes on as campaign {campaign}, and the same command again enqueues all anew. "
        f"To give it up: blendq campaign cancel {campaign}{place.options}"
    )
    return Ran(at=run.at, outcome=Outcome.FAILED, campaign=campaign, message=words)


def _tell(schedules: Schedules, one: Schedule, words: str, as_json: bool) -> int:
    now = schedules.now()
    if as_json:
        print_json({**_json(one, now), "message": words})
    else:
        click.echo(f"{one.name}: {words}; {_when(one, now)}")
    return 0


def _line(one: Schedule, now: datetime) -> str:
    clock = f"cron {one.cron!r} {one.timezone}" if one.cron else f"every {one.every_seconds:g} s"
    return f"{one.name}  {clock}  {one.manifest}  {_when(one, now)}"


def _when(one: Schedule, now: datetime) -> str:
    if one.paused:
        return "paused"
    return "next: " + ", ".join(str(rfc3339(at)) for at in one.next_times(now, NEXT_TIMES))


def _json(one: Schedule, now: datetime) -> dict[str, Any]:
    times = [] if one.paused else [rfc3339(at) for at in one.next_times(now, NEXT_TIMES)]
    return {**one.model_dump(mode="json"), "next_times": times}


def _ran_json(ran: Ran) -> dict[str, Any]:
    return {**ran.model_dump(mode="json"), "at": rfc3339(ran.at)}


# The process ---------------------------------------------------------------------------------------------------------


@click.command()
@data_dir_option
def scheduler(data_dir: Path | None) -> int:
    """Run a scheduler: it enqueues what `blendq schedule` asks for. A second one stands by."""
    from ops.cli.processes import with_server  # noqa: PLC0415
    from producer.scheduler import Scheduler  # noqa: PLC0415

    leaving = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: leaving.set())
    with Producer(with_server(data_dir)) as producer:
        Scheduler(producer, producer.schedules).run(leaving)
    return 0

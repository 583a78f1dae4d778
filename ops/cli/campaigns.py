"""`blendq campaign …`: campaigns in numbers, and orders to all their jobs."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from jobs.job import RETRIABLE, Status
from jobs.report import result
from ops.cli.archive import archive_campaign
from ops.cli.export import export_campaign
from ops.cli.job_view import campaign_lines, campaign_table, plan_words
from ops.cli.options import share
from ops.cli.output import print_json
from ops.cli.place import Place, place_options
from ops.cli.progress import Progress, finished, open_display, total
from ops.cli.values import Number
from ops.notes import note
from producer.campaign import summaries, summary
from producer.control import Ordered
from producer.report import campaign_json, plan_json

FAILURES_SHOWN = 5
SOME_FAILED = 3
WATCH_SECONDS = 0.5
MAX_AGE_DAYS = 36_500.0


@click.group()
def campaign() -> None:
    """Look at campaigns, the jobs of one manifest, and order what becomes of them."""


@campaign.command("list")
@place_options
def list_campaigns(sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """List all campaigns with their counts, the oldest first."""
    place = Place(data_dir, sandbox)
    found = []
    if not place.empty:
        with place.producer() as producer:
            found = summaries(producer.store)
    if as_json:
        print_json([campaign_json(one) for one in found])
        return 0
    for line in campaign_table(found):
        click.echo(line)
    if not found:
        note(f"there are no campaigns in {place.settings.data_dir} yet")
    return 0


@campaign.command("show")
@click.argument("name")
@place_options
def show_campaign(name: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Show a campaign: its counts, and the newest jobs that failed or are parked."""
    with Place(data_dir, sandbox).known_jobs() as producer:
        found = summary(producer.store, name)
        failures = producer.store.newest_failures(name, FAILURES_SHOWN)
    if as_json:
        print_json({**campaign_json(found), "newest_failures": [result(one, one.request, None) for one in failures]})
        return 0
    for line in campaign_lines(found, failures):
        click.echo(line)
    return 0


@campaign.command("watch")
@click.argument("name")
@place_options
def watch_campaign(name: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Show how a campaign goes on, until it is finished. It may be left with Ctrl-C and watched again, anywhere."""
    place = Place(data_dir, sandbox)
    with place.known_jobs() as producer, open_display() as display:
        control = producer.campaign(name)
        control.must_exist()
        before, began, told = producer.store.counts(name), time.monotonic(), None
        while True:
            counts = producer.store.counts(name)
            display.show(Progress(counts, before, time.monotonic() - began))
            if finished(counts) == total(counts):
                break
            if (paused := control.paused) is not None and paused != told:
                display.note(f"it is paused ({paused.kind}): {paused.message}; go on: blendq campaign resume {name}")
                told = paused
            time.sleep(WATCH_SECONDS)
    if as_json:
        print_json(campaign_json(summary(producer.store, name)))
    return 0 if counts.get(Status.SUCCEEDED, 0) == total(counts) else SOME_FAILED


# Orders ------------------------------------------------------------------------------------------------------------


@campaign.command("pause")
@click.argument("name")
@click.option("--reason", default="by a person's order", metavar="TEXT", help="Shown wherever the pause is.")
@place_options
def pause_campaign(name: str, reason: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Submit nothing more of a campaign. What the API has already goes on."""
    with Place(data_dir, sandbox).known_jobs() as producer:
        news = producer.campaign(name).pause(reason)
    return _tell(name, {"changed": news}, "paused" if news else "it was paused already", as_json)


@campaign.command("resume")
@click.argument("name")
@place_options
def resume_campaign(name: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Go on with a campaign that was paused: by you, by its budget, or by too many failures, which are forgiven."""
    with Place(data_dir, sandbox).known_jobs() as producer:
        news = producer.campaign(name).resume()
    return _tell(name, {"changed": news}, "it goes on" if news else "it was not paused", as_json)


@campaign.command("plan")
@click.argument("name")
@click.option(
    "--weight", type=Number(), metavar="W", help="Its share of the slots, beside other campaigns' (default 1)."
)
@click.option("--max-submissions", metavar="N|none", help="Pause when so many are, or may be, paid for.")
@click.option("--stop-after-failures", metavar="PERCENT|none", help="Pause when so many of the finished jobs failed.")
@place_options
def plan_campaign(
    name: str,
    weight: float | None,
    max_submissions: str | None,
    stop_after_failures: str | None,
    sandbox: str | None,
    data_dir: Path | None,
    as_json: bool,
) -> int:
    """Show a campaign's plan, or change it: its share of the slots, its budget, its bound on failures."""
    changes: dict[str, object] = {} if weight is None else {"weight": weight}
    if max_submissions is not None:
        changes["max_submissions"] = None if max_submissions == "none" else max_submissions
    if stop_after_failures is not None:
        changes["stop_after_failures"] = None if stop_after_failures == "none" else share(stop_after_failures)
    with Place(data_dir, sandbox).known_jobs() as producer:
        control = producer.campaign(name)
        control.must_exist()
        plan = control.change_plan(**changes) if changes else control.plan
    return _tell(name, plan_json(plan), plan_words(plan), as_json)


@campaign.command("cancel")
@click.argument("name")
@place_options
def cancel_campaign(name: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Give up every job that is not finished. What the API has is cancelled there, if the API can."""
    with Place(data_dir, sandbox).known_jobs() as producer:
        ordered = producer.campaign(name).cancel()
    before = ordered.changed.get(Status.CANCELLED, 0)
    words = f"{before} cancelled before they were sent; the API is asked to cancel {ordered.total - before} more"
    return _tell(name, _ordered_json(ordered), words, as_json)


@campaign.command("retry")
@click.argument("name")
@click.option(
    "--status",
    "statuses",
    type=click.Choice([one.value for one in Status if one in RETRIABLE]),
    multiple=True,
    default=(Status.FAILED.value,),
    show_default=True,
    help="Only those; may be given again. Parked ones may have been paid for: this may pay again.",
)
@click.option("--reason", "kinds", multiple=True, metavar="KIND", help="Only those with this reason, as `timeout`.")
@place_options
def retry_campaign(
    name: str,
    statuses: tuple[str, ...],
    kinds: tuple[str, ...],
    sandbox: str | None,
    data_dir: Path | None,
    as_json: bool,
) -> int:
    """Try jobs again that have ended without a picture."""
    place = Place(data_dir, sandbox)
    with place.known_jobs() as producer:
        ordered = producer.campaign(name).retry([Status(one) for one in statuses], kinds)
    code = _tell(name, _ordered_json(ordered), f"{ordered.total} are tried again", as_json)
    if ordered.total and not place.worked_on:
        note(f"nothing works on them yet: start `blendq up{place.options}`")
    return code


@campaign.command("purge")
@click.argument("name")
@click.option(
    "--older-than", type=Number(0, MAX_AGE_DAYS), default=0.0, metavar="DAYS", help="Only those finished so long ago."
)
@click.option("--yes", is_flag=True, help="Do it; without this it is only said what would be done.")
@place_options
def purge_campaign(
    name: str, older_than: float, yes: bool, sandbox: str | None, data_dir: Path | None, as_json: bool
) -> int:
    """Forget a campaign's finished jobs, their records and histories. Export it first.

    The pictures stay. The same content enqueued again would be a new job, and be paid for again.
    """
    with Place(data_dir, sandbox).known_jobs() as producer:
        control = producer.campaign(name)
        age = timedelta(days=older_than)
        count = control.purge(age) if yes else len(control.purgeable(age))
    words = f"{count} finished jobs are forgotten" if yes else f"{count} finished jobs would be forgotten; add --yes"
    return _tell(name, {"purged": count if yes else 0, "purgeable": count}, words, as_json)


def _ordered_json(ordered: Ordered) -> dict[str, object]:
    return {"changed": ordered.total, "unchanged": ordered.unchanged, "now": dict(ordered.changed)}


def _tell(name: str, facts: dict[str, Any], words: str, as_json: bool) -> int:
    if as_json:
        print_json({"campaign": name, **facts, "message": words})
    else:
        click.echo(f"{name}: {words}")
    return 0


campaign.add_command(archive_campaign)
campaign.add_command(export_campaign)

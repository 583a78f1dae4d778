"""`blendq run`: the main job, start to end in one terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobs.events import AnswerKind
from jobs.job import FINAL, Status
from jobs.settings import OnQueued, Settings
from jobs.slots.pause import BUDGET, OWN_REASONS
from ops.cli.leaving import signals_interrupt
from ops.cli.options import place_words, reuse_option, sandbox_choice, sandbox_options
from ops.cli.output import data_dir_option, duration, json_option, print_json, print_pairs
from ops.cli.request_options import request_fields, request_options
from ops.cli.run_options import (
    FOLDER_OPTIONS,
    PLAN_OPTIONS,
    folder_options,
    picture_options,
    plan_changes,
    plan_options,
)
from ops.cli.values import Folder
from ops.local import SANDBOX_UPSTREAMS
from ops.notes import error, note

if TYPE_CHECKING:
    from jobs.slots.pause import Pause
    from ops.cli.campaign_run import Outcome
    from ops.cli.run_plan import RunPlan
    from producer.manifests.sources import Source
    from producer.smaller import Fit

ADVICE = {
    AnswerKind.KEY: "set BLENDQ_API_KEY to a key that it takes (and BLENDQ_API_AUTH to the header it wants)",
    AnswerKind.QUOTA: "top up the account",
    AnswerKind.WRONG_ADDRESS: "set BLENDQ_API_URL to where its /mj/submit/blend lives",
    AnswerKind.NO_ACCOUNT: "enable an account there that may run these jobs",
}


@click.command()
@click.argument("places", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MANIFEST|FOLDER...")
@sandbox_options
@click.option(
    "--out",
    type=Folder(),
    default=Path("blends"),
    show_default=True,
    metavar="DIR",
    help="Where the pictures go, and results.jsonl, errors.jsonl and gallery.html.",
)
@click.option("--campaign", metavar="NAME", help="The campaign's name (default: made from the manifest's place).")
@click.option("--slots", type=int, metavar="N", help="Jobs at the API at once (default: found, and followed).")
@click.option(
    "--on-queued",
    type=click.Choice([str(one) for one in OnQueued]),
    help="After a code 22: look the task up (confirm, the default), always send again, or wait.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, and tell what it would take and cost; send nothing.")
@click.option(
    "--repeat", type=click.IntRange(1, 1000), default=1, metavar="N", help="N blends of each row, each paid for."
)
@reuse_option
@click.option(
    "--cancel-others", is_flag=True, help="Give up unfinished jobs of the campaign that are no rows (any more)."
)
@folder_options
@picture_options
@plan_options
@request_options
@data_dir_option
@json_option
def run(
    places: tuple[Path, ...],
    sandbox: str | None,
    speed: float | None,
    out: Path,
    campaign: str | None,
    slots: int | None,
    on_queued: str | None,
    dry_run: bool,
    repeat: int,
    reuse: bool,
    cancel_others: bool,
    max_side: int | None,
    picture_format: str | None,
    split: bool,
    embed: bool,
    name_template: str,
    data_dir: Path | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Blend every row of a manifest (CSV, JSONL or YAML), or the pictures of folders; and put the blends into a folder.

    Each row names 2 to 5 pictures; paths are relative to the manifest. Everything is checked before anything is
    sent. The same line again pays only for what is missing: after Ctrl-C, after a crash, after new rows.
    The options of a blend (--dimensions and so on) are for all of them; what a row says itself wins.

    \b
    blendq run examples/pairs.csv --sandbox        try it, nothing is paid
    blendq run pairs.csv --out pictures            with the API that BLENDQ_API_URL and BLENDQ_API_KEY name
    blendq run photos --pair all --limit 100       the first hundred pairs of a folder's pictures
    blendq run people places --pair cross          each picture of one folder with each of the other
    """
    began = time.monotonic()
    price = options["price"]
    settings = Settings.load(data_dir=data_dir, slots=slots, on_queued=on_queued, price_per_job=price)
    choice = sandbox_choice(settings, sandbox, speed)
    with signals_interrupt():
        # A second's worth of libraries.
        from ops.cli.campaign_run import carry_out  # noqa: PLC0415
        from ops.cli.run_plan import make_plan, own_settings  # noqa: PLC0415
        from ops.cli.run_source import keep_apart, source_of  # noqa: PLC0415
        from producer.campaign import campaign_name  # noqa: PLC0415
        from producer.results.export import Form  # noqa: PLC0415

        folder = {name: options.pop(name) for name in FOLDER_OPTIONS}
        changes = plan_changes({name: options.pop(name) for name in PLAN_OPTIONS}, settings)
        names = SANDBOX_UPSTREAMS if choice else settings.upstream_names
        source = source_of(places, folder, request_fields(options), names, repeat)
        keep_apart(places, out)
        name = campaign_name(*places) if campaign is None else campaign
        fit, form = _fit(max_side, picture_format), Form(name_template, split, embed=embed)
        if dry_run:
            return _dry_run(source, name, own_settings(settings, choice), (data_dir, sandbox), fit, reuse, as_json)
        plan = make_plan(settings, choice, source, name, out, changes, fit, form, reuse, cancel_others)
        outcome = carry_out(plan, began)
    _report(plan, outcome, as_json)
    return outcome.exit_code


def _fit(max_side: int | None, picture_format: str | None) -> Fit | None:
    """What the pictures are to be like when they are sent; None for as they are."""
    from producer.smaller import Fit, Format  # noqa: PLC0415  (as above)

    if max_side is None and picture_format is None:
        return None
    return Fit(max_side, Format(picture_format) if picture_format else None)


def _dry_run(
    source: Source,
    campaign: str,
    settings: Settings,
    where: tuple[Path | None, str | None],
    fit: Fit | None,
    reuse: bool,
    as_json: bool,
) -> int:
    from ops.cli.dry_run import forecast, report  # noqa: PLC0415  (as above)
    from ops.cli.place import Place  # noqa: PLC0415
    from producer.campaign import check_name  # noqa: PLC0415

    place = Place(*where)
    with nullcontext() if place.empty else place.producer() as producer:
        found = forecast(source, check_name(campaign), settings, producer, fit, reuse)
    return report(found, campaign, settings, as_json)


def _report(plan: RunPlan, outcome: Outcome, as_json: bool) -> None:
    numbers = _numbers(plan, outcome)
    if as_json:
        print_json(numbers)
    else:
        print_pairs(_words(plan, outcome, numbers))
    if outcome.differences:
        note(
            f"{plan.source.name} was changed while it was being run: {outcome.differences}. These are the results of "
            "the rows that were enqueued; the same command again takes it as it is then, and pays for what is missing"
        )
    if outcome.interrupted:
        note("interrupted; nothing is lost, the same command goes on where this one stopped")
    elif outcome.refused:
        error(refusal(outcome.refused))
    elif outcome.paused:
        error(_paused(plan, outcome.paused))
    elif outcome.done_before == plan.total and not numbers["submissions"]:
        note(f"all {plan.total} were done already; nothing was submitted")


def _paused(plan: RunPlan, pause: Pause) -> str:
    place = place_words(plan.settings, plan.sandbox)
    go_on = f"`blendq campaign resume {plan.campaign}{place}`, then run the same command again"
    if pause.kind == BUDGET:
        go_on = "run the same command again with a larger --max-submissions or --max-cost"
    return (
        f"campaign {plan.campaign} is paused ({pause.kind}): {pause.message}. No job is lost, and those that wait are "
        f"not paid for. To go on: {go_on}"
    )


def refusal(pause: Pause) -> str:
    """The one message when submitting stopped: why, and what to do. Our own reasons say the latter themselves."""
    stopped = (
        f"submitting stopped ({pause.kind}): {pause.message}. No job is lost, and those that wait are not paid for"
    )
    if pause.kind in OWN_REASONS:
        return stopped
    advice = ADVICE.get(AnswerKind(pause.kind), "ask whoever runs it")
    return f"{stopped}: {advice}, then run the same command again"


def _numbers(plan: RunPlan, outcome: Outcome) -> dict[str, Any]:
    counts = {status: outcome.exported.counts.get(status, 0) if outcome.exported else 0 for status in Status}
    total = outcome.exported.total if outcome.exported else plan.total
    return {
        "total": total,
        "succeeded": counts[Status.SUCCEEDED],
        "failed": counts[Status.FAILED],
        "parked": counts[Status.PARKED],
        "cancelled": counts[Status.CANCELLED],
        "unfinished": total - sum(counts[status] for status in FINAL),
        "done_before": outcome.done_before,
        "reused": outcome.reused,
        "others": outcome.others,
        "submissions": outcome.since("submissions"),
        "resubmissions": outcome.since("resubmissions"),
        "queued_answers": outcome.since("queued_answers"),
        "seconds": round(outcome.seconds, 2),
        "outcome": outcome.word,
        "campaign": plan.campaign,
        "out": str(plan.out.absolute()),
        "data_dir": str(outcome.data_dir),
    }


def _words(plan: RunPlan, outcome: Outcome, numbers: Mapping[str, Any]) -> dict[str, object]:
    kept = ("total", "succeeded", "failed", "parked", "cancelled", "unfinished")
    words: dict[str, object] = {name: numbers[name] for name in kept if numbers[name] or name in kept[:2]}
    words |= {"done before": numbers["done_before"]}
    if outcome.reused:
        words["reused"] = f"{outcome.reused} pictures of other campaigns; nothing was paid for them"
    words |= {
        "submissions": f"{numbers['submissions']} in this run, {numbers['resubmissions']} resubmissions, "
        f"{numbers['queued_answers']} times 22",
        "time": duration(outcome.seconds),
    }
    if outcome.exported:
        out = plan.out
        words |= {"pictures": out, "gallery": out / "gallery.html", "results": out / "results.jsonl"}
        if numbers["total"] != numbers["succeeded"]:
            words["errors"] = out / "errors.jsonl"
    return words | {"one job": f"blendq job show ID{place_words(plan.settings, plan.sandbox)}"}

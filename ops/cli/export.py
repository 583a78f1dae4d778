"""`blendq campaign export`: the results of a campaign as a folder, whoever enqueued it."""

from __future__ import annotations

from pathlib import Path

import click

from jobs.job import Status
from ops.cli.output import print_json, print_pairs
from ops.cli.place import Place, place_options
from ops.cli.run_options import embed_option, name_option
from ops.cli.run_plan import check_writable
from ops.cli.values import Folder
from producer.campaign import summary
from producer.manifests.manifest import Row
from producer.results.export import Entry, Form, export


@click.command("export")
@click.argument("name")
@click.option("--out", type=Folder(), required=True, metavar="DIR", help="Where it goes.")
@click.option(
    "--format",
    "table",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="csv: results.csv for spreadsheets too.",
)
@click.option("--split", is_flag=True, help="Write the four quarters of each blend beside it, too.")
@embed_option
@name_option
@place_options
def export_campaign(
    name: str,
    out: Path,
    table: str,
    split: bool,
    embed: bool,
    name_template: str,
    sandbox: str | None,
    data_dir: Path | None,
    as_json: bool,
) -> int:
    """Write the results of a campaign into a folder: pictures, results.jsonl, errors.jsonl and gallery.html.

    As after `blendq run`, in the order in which the jobs were enqueued; again and again, and while it goes on.
    """
    form = Form(name_template, split, table == "csv", embed)
    with Place(data_dir, sandbox).known_jobs() as producer:
        summary(producer.store, name)
        check_writable(out)
        # Follow-ups stand behind their parents, which are never forgotten before them.
        jobs = (job for job in producer.store.campaign_jobs(name) if job.follows is None)
        entries = (Entry(Row(number, job.request), job.id, job) for number, job in enumerate(jobs, 1))
        done = export(entries, producer.store, producer.images, out, form)
    facts = {
        "campaign": name,
        "total": done.total,
        "succeeded": done.counts.get(Status.SUCCEEDED, 0),
        "written": done.written,
        "unchanged": done.unchanged,
        "out": str(out.absolute()),
    }
    if as_json:
        print_json(facts)
    else:
        print_pairs(facts)
    return 0

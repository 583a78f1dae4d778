"""`blendq campaign archive`: a finished campaign goes into a file, and out of Redis."""

from __future__ import annotations

from pathlib import Path

import click

from ops.cli.output import print_json, print_pairs
from ops.cli.place import Place, place_options
from ops.notes import note
from producer.archive import archive

SOME_CHANGED = 1


@click.command("archive")
@click.argument("name")
@click.option("--to", type=click.Path(path_type=Path), metavar="FILE", help="Where to (default: NAME.jsonl.gz).")
@click.option(
    "--pictures",
    type=click.Choice(["keep", "drop"]),
    default="keep",
    show_default=True,
    help="drop: remove the finished pictures from the image store, but for those that other jobs have or blend.",
)
@place_options
def archive_campaign(
    name: str, to: Path | None, pictures: str, sandbox: str | None, data_dir: Path | None, as_json: bool
) -> int:
    """Write the whole record of a finished campaign to a file, check it, and forget the campaign.

    The file has a line about the campaign, then one for each job, with its history. The same content enqueued again
    would be a new job, and be paid for again. Where it was interrupted, the same line goes on with the same file.
    """
    file = to or Path(f"{name}.jsonl.gz")
    with Place(data_dir, sandbox).known_jobs() as producer:
        done = archive(producer.store, producer.images, name, file, drop_pictures=pictures == "drop")
    facts = {
        "campaign": name,
        "file": str(file.absolute()),
        "jobs": done.jobs,
        "forgotten": done.forgotten,
        "changed": done.changed,
        "pictures_dropped": done.pictures_dropped,
    }
    if as_json:
        print_json(facts)
    else:
        print_pairs(facts)
    if done.changed:
        note(f"{done.changed} jobs are not in the file as they are now, and stay; archive them to another file")
    return SOME_CHANGED if done.changed else 0

"""`blendq resume`: submit again, once what stopped it is mended."""

from __future__ import annotations

from pathlib import Path

import click

from jobs.epoch import Epoch
from jobs.policy import Policy
from jobs.server import connect
from jobs.settings import Settings
from jobs.store import JobStore
from ops.cli.output import data_dir_option, json_option, note, print_json
from ops.embedded import joined_or_started


@click.command()
@click.option(
    "--accept-loss",
    is_flag=True,
    help="What this Redis holds counts from now on, though records of jobs that were paid for may be missing.",
)
@data_dir_option
@json_option
def resume(accept_loss: bool, data_dir: Path | None, as_json: bool) -> int:
    """Submit again at once, after a refused key, an empty quota or the like was mended.

    Without this, submitting tries again by itself after a while, one job at a time.
    """
    settings = Settings.load(data_dir=data_dir)
    with joined_or_started(settings):
        client = connect(settings.redis_address())
        store = JobStore(client, Policy.from_settings(settings))
        paused = store.gate.paused()
        if accept_loss:
            Epoch(client, store.keys, settings.data_dir).accept()
        store.gate.resume()
        store.close()
    if as_json:
        print_json({"was_paused": paused is not None, "kind": paused and paused.kind, "accepted_loss": accept_loss})
    else:
        note(f"submitting was paused ({paused.kind}: {paused.message}); it goes on" if paused else "nothing was paused")
    return 0

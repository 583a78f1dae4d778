"""`blendq resume`: submit again, once what stopped it is mended."""

from __future__ import annotations

from pathlib import Path

import click

from jobs.epoch import Epoch
from jobs.errors import UsageError
from jobs.policy import Policy
from jobs.server import connect
from jobs.settings import Settings
from jobs.store import JobStore
from ops.cli.output import data_dir_option, json_option, print_json
from ops.embedded import joined_or_started
from ops.notes import note
from producer.upstream import resume as resume_upstreams
from producer.upstream import upstream_names


@click.command()
@click.argument("name", required=False)
@click.option(
    "--accept-loss",
    is_flag=True,
    help="What this Redis holds counts from now on, though records of jobs that were paid for may be missing.",
)
@data_dir_option
@json_option
def resume(name: str | None, accept_loss: bool, data_dir: Path | None, as_json: bool) -> int:
    """Submit again at once, after a refused key, an empty quota or the like was mended: to upstream NAME, or to all.

    Without this, submitting tries again by itself after a while, one job at a time.
    """
    settings = Settings.load(data_dir=data_dir)
    with joined_or_started(settings):
        client = connect(settings.redis_address())
        store = JobStore(client, Policy.from_settings(settings))
        names = _named(name, upstream_names(store, settings))
        upstreams = store.circuit.read(names).values()
        paused = [pause for pause in (store.gate.paused(), *(one.pause for one in upstreams)) if pause]
        if accept_loss:
            Epoch(client, store.keys, settings.data_dir).accept()
        resume_upstreams(store, names)
        store.close()
    if as_json:
        kind = paused[0].kind if paused else None
        print_json({"was_paused": bool(paused), "kind": kind, "accepted_loss": accept_loss})
        return 0
    for pause in paused:
        note(f"submitting was paused ({pause.kind}: {pause.message}); it goes on")
    if not paused:
        note("nothing was paused")
    return 0


def _named(name: str | None, known: list[str]) -> list[str]:
    if name is not None and name not in known:
        raise UsageError(f"there is no upstream {name}; there is {', '.join(known)}")
    return known if name is None else [name]

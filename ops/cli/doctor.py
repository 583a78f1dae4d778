"""`blendq doctor`: is everything as it should be, and if not, what to do."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ops.cli.output import print_json
from ops.cli.place import Place, place_options

NOT_WELL = 1


@click.command()
@place_options
def doctor(sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Check settings, disk, Redis, workers, the API and the way back from it. Costs nothing, changes no job.

    Exit code 0 when nothing is wrong; a warning is worth a look, and stops nothing.
    """
    from ops.doctor import examine  # noqa: PLC0415  (a second's worth of libraries)
    from ops.findings import Finding, Level  # noqa: PLC0415  (as above)

    found: list[Finding] = []
    for finding in examine(Place(data_dir, sandbox).settings):
        found.append(finding)
        if not as_json:
            click.echo(f"{finding.level:<8} {finding.name:<17} {finding.says}")
            if finding.advice:
                click.echo(f"{'':<26} -> {finding.advice}")
    well = all(one.level is not Level.WRONG for one in found)
    if as_json:
        print_json({"well": well, "findings": [asdict(one) for one in found]})
    return 0 if well else NOT_WELL

"""What a run of a manifest is to do, checked before anything is enqueued."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from jobs.errors import ManifestError, RowProblem, UsageError
from jobs.net.download import Downloads
from jobs.pictures.images import ImageStore
from jobs.settings import Settings
from ops.cli.progress import counted
from ops.local import SandboxChoice, sandbox_settings
from ops.ownership import data_dir_errors, make_data_dir
from producer.campaign import check_name
from producer.enqueued import as_told
from producer.manifests.manifest import Row, good_rows
from producer.manifests.sources import Source
from producer.pictures import Pictures
from producer.results.export import Form
from producer.smaller import Fit


@dataclass(frozen=True)
class RunPlan:
    """What was asked for, checked: from here on nothing of it can be wrong. `changes` are to the campaign's plan."""

    settings: Settings
    sandbox: SandboxChoice | None
    campaign: str
    out: Path
    source: Source
    changes: Mapping[str, object]
    form: Form
    pictures: Pictures
    total: int
    reuse: bool = False
    cancel_others: bool = False

    def rows(self) -> Iterator[tuple[Row, Row]]:
        """Each row as it is told of, and with its pictures by digest; read again, so that none has to be held.

        Raises:
            ManifestError: the rows are no longer those that were checked.
        """
        for row in good_rows(self.source.name, self.source.rows()):
            stored = self.pictures.stored(row)
            if isinstance(stored, RowProblem):
                raise ManifestError(f"{self.source.name}: {stored}; it was right before: run the same command again")
            yield as_told(row), stored


def make_plan(
    settings: Settings,
    choice: SandboxChoice | None,
    source: Source,
    campaign: str,
    out: Path,
    changes: Mapping[str, object],
    upload: Fit | None,
    form: Form,
    reuse: bool = False,
    cancel_others: bool = False,
) -> RunPlan:
    """
    Raises:
        UsageError: the data folder, the folder for the pictures, or the campaign's name.
        ManifestError: any of the rows and pictures.
    """
    check_name(campaign)
    with open_pictures(own_settings(settings, choice), upload) as pictures:
        rows = good_rows(source.name, pictures.prepare(source.rows()))
        total = sum(1 for _ in counted(rows, lambda count, _: f"{count:,} rows checked"))
    check_writable(out)
    return RunPlan(settings, choice, campaign, out, source, changes, form, pictures, total, reuse, cancel_others)


def own_settings(settings: Settings, choice: SandboxChoice | None) -> Settings:
    """Those of the stack that is to run; its data folder exists.

    Raises:
        UsageError: it cannot be made.
    """
    own = sandbox_settings(settings, choice) if choice else settings
    make_data_dir(settings.data_dir)
    make_data_dir(own.data_dir)
    return own


@contextmanager
def open_pictures(settings: Settings, fit: Fit | None) -> Iterator[Pictures]:
    """For checking rows; pictures are made to fit. What was fetched from the web meanwhile is known afterwards too.

    Raises:
        UsageError: the data folder cannot be written.
    """
    images = ImageStore(
        settings.data_dir / "images", max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels
    )
    with data_dir_errors(settings.data_dir), closing(Downloads.from_settings(settings)) as web:
        yield Pictures(images, web, fit=fit)


def check_writable(out: Path) -> None:
    """Make the folder, and see that files can be made in it.

    Raises:
        UsageError: they cannot.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        why = "a file is in its way" if isinstance(error, FileExistsError) else error.strerror
        raise UsageError(f"folder {out}: cannot be written ({why}); choose another with --out") from error

"""Where the jobs are that a command is about, and the options that say so."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from jobs.errors import BlendqError
from jobs.settings import Settings
from ops.cli.options import PERSONALITIES
from ops.cli.output import data_dir_option, json_option
from ops.embedded import joined_or_started
from ops.local import SANDBOX_UPSTREAMS, SandboxChoice, sandbox_settings
from ops.ownership import holder

if TYPE_CHECKING:
    from producer.client import Producer

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Place:
    """Which jobs are meant: those of a data folder, or of the sandbox in it."""

    data_dir: Path | None
    sandbox: str | None

    @property
    def settings(self) -> Settings:
        settings = Settings.load(data_dir=self.data_dir)
        return sandbox_settings(settings, SandboxChoice(self.sandbox)) if self.sandbox else settings

    @property
    def upstream_names(self) -> list[str]:
        """The APIs that jobs may be for; none where only the workers know them."""
        return SANDBOX_UPSTREAMS if self.sandbox else self.settings.upstream_names

    @property
    def options(self) -> str:
        """What a further command needs in order to find the same jobs."""
        words = [f"--sandbox={self.sandbox}"] if self.sandbox else []
        words += ["--data-dir", str(self.data_dir)] if self.data_dir else []
        return "".join(f" {shlex.quote(word)}" for word in words)

    @contextmanager
    def producer(self) -> Iterator[Producer]:
        from producer.client import Producer  # noqa: PLC0415  (slow to load; the worker and the receiver need none)

        settings = self.settings
        with joined_or_started(settings), Producer(settings) as producer:
            yield producer

    @contextmanager
    def known_jobs(self) -> Iterator[Producer]:
        """As `producer`, for looking only: a mistyped folder is not made, nor is a server started on it.

        Raises:
            BlendqError: no job was ever enqueued there.
        """
        if self.empty:
            raise BlendqError(
                f"there are no jobs in {self.settings.data_dir}; check --data-dir, and --sandbox for simulated ones"
            )
        with self.producer() as producer:
            yield producer

    @property
    def empty(self) -> bool:
        settings = self.settings
        return settings.redis_url is None and not (settings.data_dir / "redis").is_dir()

    @property
    def worked_on(self) -> bool:
        """Whether a stack runs on the data folder; of a Redis elsewhere nobody can tell."""
        settings = self.settings
        found = holder(settings.data_dir)
        return settings.redis_url is not None or (found is not None and found.alive and not found.brief)


def sandbox_jobs_option(command: F) -> F:
    """`--sandbox[=PERSONALITY]`: the jobs of a sandbox are meant."""
    return click.option(
        "--sandbox",
        type=click.Choice(PERSONALITIES),
        help="The sandbox's jobs, which are kept apart (bare: those of open-source).",
    )(command)


def place_options(command: F) -> F:
    """The options of every command here: where the jobs are, and `--json`."""
    return sandbox_jobs_option(data_dir_option(json_option(command)))

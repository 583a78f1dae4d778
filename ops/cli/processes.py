"""The stack without a manifest, and its parts one by one."""

from __future__ import annotations

import time
from pathlib import Path

import click

from jobs.errors import StackError
from jobs.settings import Settings
from ops.cli.leaving import at_once_on_ctrl_c, signals_interrupt
from ops.cli.options import place_words, sandbox_choice, sandbox_options
from ops.cli.output import data_dir_option, json_option, print_json, print_pairs
from ops.cli.place import Place, sandbox_jobs_option
from ops.embedded import wait_for
from ops.local import LocalStack
from ops.notes import note

WATCH_SECONDS = 0.5
SERVER_SECONDS = 15.0


@click.command()
@sandbox_options
@data_dir_option
@json_option
def up(sandbox: str | None, speed: float | None, data_dir: Path | None, as_json: bool) -> int:
    """Run the whole stack, until Ctrl-C: server, workers, beat, scheduler, receiver, and a sandbox if you ask for one.

    Use it when jobs come from other programs, or from `blendq submit`. BLENDQ_WORKERS says how many workers (1).
    """
    settings = Settings.load(data_dir=data_dir)
    choice = sandbox_choice(settings, sandbox, speed)
    with signals_interrupt(), LocalStack(settings, choice) as stack:
        try:
            stack.start_server()
            stack.start_rest(scheduler=True)
            places = _places(stack, f"blendq submit{place_words(settings, choice)} A.png B.png")
            print_json(places) if as_json else print_pairs(places)
            note("everything runs; Ctrl-C stops it")
            while True:
                for line in stack.watch():
                    note(line)
                time.sleep(WATCH_SECONDS)
        except KeyboardInterrupt:
            note("stopping; jobs that are not finished go on with the next `blendq up` or `blendq run`")
            stack.stop_rest()
    return 0


def _places(stack: LocalStack, submit: str) -> dict[str, str | None]:
    settings = stack.settings
    return {
        "data": str(settings.data_dir),
        "logs": str(stack.logs),
        "redis": "BLENDQ_REDIS_URL" if settings.redis_url else settings.redis_address(),
        "api": ", ".join(one.url for one in settings.apis) or None,
        "callbacks": settings.public_url or "none: the API is asked instead",
        "submit": submit,
    }


@click.command()
@data_dir_option
def worker(data_dir: Path | None) -> int:
    """Run one worker: it submits, asks, and fetches pictures. Start as many as you like."""
    at_once_on_ctrl_c()
    settings = with_server(data_dir)
    from worker.main import run_worker  # noqa: PLC0415  (Celery is slow to load)

    return run_worker(settings)


@click.command()
@data_dir_option
def beat(data_dir: Path | None) -> int:
    """Run the clock: it wakes the workers every second, whatever else was lost. One is enough."""
    at_once_on_ctrl_c()
    settings = with_server(data_dir)
    from worker.beat import run_beat  # noqa: PLC0415  (as above)

    return run_beat(settings)


@click.command()
@click.option("--announce-file", type=click.Path(path_type=Path), hidden=True)
@data_dir_option
def receiver(announce_file: Path | None, data_dir: Path | None) -> int:
    """Run the receiver of the API's callbacks; BLENDQ_RECEIVER_HOST and BLENDQ_RECEIVER_PORT say where."""
    settings = with_server(data_dir)
    from worker.receiver import run_receiver  # noqa: PLC0415  (loads a web server)

    return run_receiver(settings, announce_file)


@click.command()
@click.option("--announce-file", type=click.Path(path_type=Path), hidden=True)
@data_dir_option
@sandbox_jobs_option
def api(announce_file: Path | None, data_dir: Path | None, sandbox: str | None) -> int:
    """Run the HTTP API for other services; BLENDQ_SERVICE_HOST and BLENDQ_SERVICE_PORT say where."""
    settings = reached(Place(data_dir, sandbox).settings)
    from producer.api.server import run_service  # noqa: PLC0415  (loads a web server)

    return run_service(settings, announce_file)


def with_server(data_dir: Path | None) -> Settings:
    """The settings, when their server can be reached. One of another machine is waited for by the part itself.

    Raises:
        StackError: no embedded server runs on this data folder.
    """
    return reached(Settings.load(data_dir=data_dir))


def reached(settings: Settings) -> Settings:
    """The same settings, once their embedded server answers; raises StackError when it does not."""
    if settings.redis_url is None and not wait_for(settings.socket_path(), SERVER_SECONDS):
        raise StackError(
            f"no server runs on {settings.data_dir}; set BLENDQ_REDIS_URL, or use `blendq up`, which starts one"
        )
    return settings


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def sandbox(arguments: tuple[str, ...]) -> int:
    """Run the simulated API. `blendq sandbox --help` lists its options."""
    from ops.sandbox.__main__ import main  # noqa: PLC0415  (loads a web server)

    return main(list(arguments))

"""The `blendq` command: one file for each family of commands, loaded only when it is called."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

import click

from jobs.errors import BlendqError
from ops.cli.output import print_any_name
from ops.closed_streams import replace_closed_streams
from ops.notes import error, note

INTERRUPTED = 130
DEFAULT_PERSONALITY = "open-source"

# Each command, where it is, and what it does. The words stand here so that `--help` loads nothing.
COMMANDS = {
    "run": ("ops.cli.run:run", "Blend the rows of a manifest, or the pictures of a folder, start to end."),
    "up": ("ops.cli.processes:up", "Run the same stack without a manifest, until Ctrl-C."),
    "submit": ("ops.cli.jobs:submit", "Enqueue one blend of 2 to 5 pictures."),
    "job": ("ops.cli.jobs:job", "Look at one job; carry it on, cancel it, try it again."),
    "campaign": ("ops.cli.campaigns:campaign", "Look at campaigns; bound, pause, cancel, retry, export, archive them."),
    "schedule": ("ops.cli.schedules:schedule", "Enqueue manifests by the clock."),
    "webhook": ("ops.cli.webhooks:webhook", "Tell your own endpoints what becomes of jobs and campaigns."),
    "upstream": ("ops.cli.upstreams:upstream", "Look at the APIs: how many jobs at once, and why."),
    "resume": ("ops.cli.resume:resume", "Submit again, once what stopped it is mended."),
    "worker": ("ops.cli.processes:worker", "Run one worker (for containers)."),
    "beat": ("ops.cli.processes:beat", "Run the clock that wakes workers (for containers)."),
    "scheduler": ("ops.cli.schedules:scheduler", "Run the clock of the schedules (for containers)."),
    "receiver": ("ops.cli.processes:receiver", "Run the receiver of the API's callbacks (for containers)."),
    "api": ("ops.cli.processes:api", "Run the HTTP API for other services (for containers)."),
    "token": ("ops.cli.tokens:token", "Say who may use the HTTP API."),
    "sandbox": ("ops.cli.processes:sandbox", "Run the API, simulated, to try things without paying."),
    "doctor": ("ops.cli.doctor:doctor", "Check everything, and say what to do where something is wrong."),
    "health": ("ops.cli.health:health", "Tell whether a part does its work (for containers)."),
    "settings": ("ops.cli.settings:settings", "List every setting, and where its value comes from."),
}


class _Commands(click.Group):
    """Loads a command's file only when that command is called: starting takes a fraction of a second otherwise."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.{name} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])


def _show_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"blendq {version('blendq')}")
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show it.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show where an unexpected error came from.")
def cli() -> None:
    """Blend pictures in bulk through a Midjourney proxy API: nothing lost, nothing paid twice, no slot idle.

    \b
    Try it without an API:   blendq run examples/pairs.csv --sandbox
    With your API:           BLENDQ_API_URL=https://… BLENDQ_API_KEY=… blendq run pairs.csv
    What that would cost:    blendq run pairs.csv --dry-run --price 0.05
    Every setting:           blendq settings

    Data goes to stdout, progress and messages to stderr. Exit codes: 0 all succeeded, 1 another error, 2 usage,
    3 some jobs failed, are parked or paused, 4 a bad manifest, 5 the API refused us (key, quota), 130 interrupted.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: instead of `sys.argv[1:]`.

    Returns:
        the exit code; see `cli`.
    """
    replace_closed_streams()
    print_any_name()
    arguments, debug = _prepared(sys.argv[1:] if argv is None else argv)
    try:
        code = cli.main(args=arguments, prog_name="blendq", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as problem:  # nothing is wrong yet: somebody looks around
        click.echo(problem.format_message(), err=True)
        return problem.exit_code
    except click.ClickException as problem:
        command = problem.ctx.command_path if isinstance(problem, click.UsageError) and problem.ctx else "blendq"
        error(f"{problem.format_message().removesuffix('.')} (see `{command} --help`)")
        return problem.exit_code
    except (click.Abort, KeyboardInterrupt):
        note("interrupted; nothing is lost, the same command again goes on")
        return INTERRUPTED
    except BrokenPipeError:
        return _nobody_reads()
    except BlendqError as problem:
        return _failed(problem, problem.exit_code, debug)
    except Exception as problem:  # noqa: BLE001  (the last line of defence: one line instead of a page)
        return _failed(problem, BlendqError.exit_code, debug)
    return code if isinstance(code, int) else 0


def _prepared(argv: Sequence[str]) -> tuple[list[str], bool]:
    """A bare `--sandbox` means the default one, whatever follows; `--debug` may stand anywhere before a `--`."""
    end = argv.index("--") if "--" in argv else len(argv)
    head = [f"--sandbox={DEFAULT_PERSONALITY}" if word == "--sandbox" else word for word in argv[:end]]
    return [word for word in head if word != "--debug"] + list(argv[end:]), "--debug" in head


def _failed(problem: Exception, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exception(problem)
    if isinstance(problem, BlendqError):
        error(str(problem))
    else:
        words = " ".join(str(problem).split())[:300]
        error(f"unexpected {type(problem).__name__}: {words} (--debug shows where; the logs are in DATA_DIR/logs)")
    return code


def _nobody_reads() -> int:
    """Whoever read our output has left, as `head` does. Not worth a word; nor may Python complain at its end."""
    with contextlib.suppress(OSError):
        sys.stdout.close()
    return 1

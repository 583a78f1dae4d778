"""The sandbox's options, and the command line that sets them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ops.sandbox.faults import DEFAULTS, SPOILS, WORDS, Faults
from ops.sandbox.personalities import Name

DEFAULT_PORT = 8792
MAX_SHRINK = 16


@dataclass(frozen=True)
class SandboxOptions:
    """How to start a sandbox. `task_seconds` are simulated ones: `speed` divides them."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    personality: Name = Name.OPEN_SOURCE
    speed: float = 1.0
    accounts: int = 1
    core_size: int = 3
    queue_size: int = 10
    task_seconds: tuple[float, float] = (30.0, 90.0)
    api_key: str | None = field(default=None, repr=False)
    data_dir: Path | None = None
    forget: bool = False
    again_times: int = 2
    shrink: int = 1
    seed: int | None = None
    announce_file: Path | None = None
    public_url: str | None = None
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError("--port must be from 0 to 65535")
        low, high = self.task_seconds
        if self.speed <= 0 or not 0 <= low <= high:
            raise ValueError("--speed must be above 0, and --task-seconds must be MIN MAX with 0 <= MIN <= MAX")
        if min(self.accounts, self.queue_size, self.again_times) < 0 or self.core_size < 1:
            raise ValueError("--accounts, --queue-size and --again-times must not be negative, --core-size at least 1")
        if not 1 <= self.shrink <= MAX_SHRINK:
            raise ValueError(f"--shrink must be from 1 to {MAX_SHRINK}")

    @property
    def real_task_seconds(self) -> tuple[float, float]:
        return self.task_seconds[0] / self.speed, self.task_seconds[1] / self.speed


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; argparse would put thirty lines of options before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see `{self.prog} --help`)\n")


def parser() -> argparse.ArgumentParser:
    made = _Parser(
        prog="blendq sandbox", description="The Midjourney proxy API, simulated, with a ledger and faults on demand."
    )
    _add_server(made)
    _add_world(made)
    _add_faults(made)
    return made


def _add_server(made: argparse.ArgumentParser) -> None:
    made.add_argument("--host", default="127.0.0.1", help="address to listen on")
    made.add_argument("--port", type=int, default=DEFAULT_PORT, help="port to listen on; 0 for any free one")
    made.add_argument("--api-key", metavar="KEY", help="the only key that is accepted; absent: any")
    made.add_argument("--data-dir", type=Path, metavar="DIR", help="tasks, ledger and pictures are kept here")
    made.add_argument("--forget", action="store_true", help="start without memory of tasks; the ledger is kept")
    made.add_argument("--announce-file", type=Path, metavar="PATH", help="write the URL here once it listens")
    made.add_argument("--public-url", metavar="URL", help="what picture links begin with, when not the address")


def _add_world(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--personality", choices=[str(name) for name in Name], default="open-source", help="the server family"
    )
    made.add_argument("--speed", type=float, default=1.0, help="simulated time is divided by this")
    made.add_argument("--accounts", type=int, default=1, help="how many accounts there are")
    made.add_argument("--core-size", type=int, default=3, help="tasks that an account runs at once")
    made.add_argument("--queue-size", type=int, default=10, help="tasks that may wait at an account")
    made.add_argument(
        "--task-seconds", type=float, nargs=2, default=(30.0, 90.0), metavar=("MIN", "MAX"), help="how long one takes"
    )
    made.add_argument("--again-times", type=int, default=2, help='how often "again" answers 22 before each 1')
    made.add_argument("--shrink", type=int, default=1, help="divide the sides of the pictures by this: quicker to draw")
    made.add_argument("--seed", type=int, help="for repeatable chance")


def _add_faults(made: argparse.ArgumentParser) -> None:
    group = made.add_argument_group("faults", "off unless given; POST /sandbox/faults changes them at run time")
    for name, default in DEFAULTS.items():
        flag, words = f"--{name.replace('_', '-')}", WORDS[name]
        if name == "expire_links":
            group.add_argument(flag, nargs="?", const="always", choices=["always", "once"], help=words)
        elif isinstance(default, bool):
            group.add_argument(flag, action="store_true", default=None, help=words)
        elif isinstance(default, str):
            group.add_argument(flag, choices=SPOILS, help=words)
        else:
            metavar = "N" if isinstance(default, int) else "X"
            group.add_argument(flag, type=type(default), metavar=metavar, help=words)


def parse(arguments: Sequence[str] | None = None) -> SandboxOptions:
    """Read the command line; leaves with exit code 2 and one clear line when it is wrong."""
    made = parser()
    given: dict[str, Any] = vars(made.parse_args(arguments))
    faults = {name: given.pop(name) for name in DEFAULTS}
    if faults["expire_links"] == "always":
        faults["expire_links"] = True
    given["personality"] = Name(given["personality"])
    given["task_seconds"] = tuple(given["task_seconds"])
    try:
        chosen = {name: value for name, value in faults.items() if value is not None}
        return SandboxOptions(**given, faults=Faults().merged(chosen))
    except ValueError as error:
        made.error(str(error))

"""The whole stack on one machine: embedded server, sandbox if asked for, receiver, worker and beat.

Everything it starts is gone when it leaves, however it leaves: see `ops.reaper`.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from jobs.doors import DEFAULT
from jobs.errors import PortInUse
from jobs.settings import PREFIX, Settings
from ops.child import Child, announcement_of
from ops.embedded import EmbeddedServer, hosting
from ops.ownership import Ownership

LOOPBACK = "127.0.0.1"
# The worker leaves at once, but for answers on the wire: ended while one may come, it would lose track of a submission
# that was paid for. So it is given as long as an answer may take; whoever is in a hurry presses Ctrl-C twice.
WORKER_MARGIN_SECONDS = 6.0
STOP_SECONDS = 2.0
GUESTS_SECONDS = 1.0
# A task of 30 to 90 s takes 2 to 5 s: long enough to see the jobs move, short enough to watch.
SANDBOX_SPEED = 20.0
# With a sandbox nobody pays for impatience.
SANDBOX_DEFAULTS: Mapping[str, object] = {
    "poll_min_seconds": 0.5,
    "poll_max_seconds": 2.0,
    "silence_seconds": 5.0,
    "unsure_limit_seconds": 45.0,
    "backoff_base_seconds": 0.5,
    "backoff_cap_seconds": 5.0,
}
# Beside a sandbox there is nothing else, whatever APIs the settings name.
SANDBOX_UPSTREAMS = [DEFAULT]


@dataclass(frozen=True)
class SandboxChoice:
    """Which simulated API to start beside the stack."""

    personality: str = "open-source"
    speed: float = SANDBOX_SPEED


def sandbox_settings(settings: Settings, choice: SandboxChoice) -> Settings:
    """The settings of a stack with a sandbox: its own data, so that simulated jobs never mix with real ones."""
    chosen = {name: getattr(settings, name) for name in settings.model_fields_set}
    ours = {
        "data_dir": settings.data_dir / f"sandbox-{choice.personality}",
        "redis_url": None,
        "api_url": None,
        "api_key": secrets.token_urlsafe(16),
        "api_auth": "mj-api-secret",
        "upstreams": (),
        "public_url": None,
    }
    return Settings.load({}, **{**_agreeing_defaults(chosen), **chosen, **ours})


def _agreeing_defaults(chosen: Mapping[str, object]) -> dict[str, object]:
    """The quick defaults, where they do not contradict what the user chose for the other end of a range."""
    defaults = dict(SANDBOX_DEFAULTS)
    for low, high in (("poll_min_seconds", "poll_max_seconds"), ("backoff_base_seconds", "backoff_cap_seconds")):
        if low in chosen or high in chosen:
            defaults.pop(low)
            defaults.pop(high)
    return defaults


class LocalStack:
    """The stack. `start_server`, then `start_rest` if there is work; leaving stops all.

    Args:
        settings: as the user gave them.
        sandbox: the simulated API to start, if any.

    Raises:
        DataDirInUse: another stack uses this data folder.
    """

    def __init__(self, settings: Settings, sandbox: SandboxChoice | None = None) -> None:
        self._sandbox = sandbox
        settings = sandbox_settings(settings, sandbox) if sandbox else settings
        self.settings = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})
        self.logs = self.settings.data_dir / "logs"
        self._children: dict[str, list[Child]] = {}  # of each part
        self._server: EmbeddedServer | None = None
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        self._owner = self._exits.enter_context(Ownership(self.settings.data_dir))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop_rest()
        finally:
            self._exits.close()

    # Starting --------------------------------------------------------------------------------------------------

    def start_server(self) -> None:
        """Start the embedded server, unless the settings name another.

        Raises:
            StackError: it did not start.
        """
        self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.settings.redis_url is None:
            self._server = self._exits.enter_context(hosting(self.settings, self._owner, GUESTS_SECONDS))

    def start_rest(self, *, scheduler: bool = False) -> None:
        """Start everything else, and wait until what listens can be reached.

        Args:
            scheduler: start one, too: a run of one manifest needs none.

        Raises:
            PortInUse: the receiver's port, when the user chose it.
            StackError: a part did not start; says which, and the end of its log.
        """
        self._choose_addresses()
        env = _environment(self.settings)
        listening = []
        if self._sandbox:
            listening.append(self._start("sandbox", self._sandbox_options(self._sandbox), env))
        if self._needs_receiver():
            listening.append(self._start("receiver", [], env))
        # Not one after the other: a job that is early for the sandbox, or a callback for the receiver, is tried again.
        for part in (*["worker"] * self.settings.workers, "beat", *(["scheduler"] if scheduler else [])):
            self._start(part, None, env)
        for child in listening:
            child.wait_until_ready()

    def _choose_addresses(self) -> None:
        """Free ports, where the user chose none; the last run's again, since the API may still know its addresses."""
        new: dict[str, object] = {}
        host, port = self.settings.receiver_host, self.settings.receiver_port
        if not port or (self._sandbox and "receiver_port" not in self.settings.model_fields_set):
            new["receiver_port"] = _free_port(self.logs, "receiver", host)
        elif self._needs_receiver() and _probe(host, port) is None:
            raise PortInUse(f"the receiver cannot listen on {host}:{port}; set BLENDQ_RECEIVER_PORT to a free one")
        if self._sandbox:
            new["public_url"] = f"http://{LOOPBACK}:{new.get('receiver_port', port)}"
            new["api_url"] = f"http://{LOOPBACK}:{_free_port(self.logs, 'sandbox', LOOPBACK)}"
        self.settings = self.settings.model_copy(update=new)

    def _needs_receiver(self) -> bool:
        """Without a public address nobody would call it."""
        return self._sandbox is not None or self.settings.public_url is not None

    def _start(self, part: str, announcing: Sequence[str] | None, env: Mapping[str, str]) -> Child:
        alike = self._children.setdefault(part, [])
        name = f"{part}-{len(alike) + 1}" if alike else part
        options = [] if announcing is None else ["--announce-file", str(announcement_of(self.logs, name)), *announcing]
        command = [sys.executable, "-m", "ops.cli", part, *options]
        reaper = self._owner.servers if part == "sandbox" else self._owner.reaper
        child = Child(name, command, env, folder=self.logs, reaper=reaper)
        alike.append(child)
        child.start()
        return child

    def _sandbox_options(self, choice: SandboxChoice) -> list[str]:
        key = self.settings.api_key
        return [
            *("--port", str(urlsplit(self.settings.api_url or "").port)),
            *("--personality", choice.personality),
            *("--speed", str(choice.speed)),
            f"--api-key={key.get_secret_value() if key else ''}",  # one word: a key may begin with a dash
            *("--data-dir", str(self.settings.data_dir / "sandbox")),
        ]

    # Running ---------------------------------------------------------------------------------------------------

    def watch(self) -> list[str]:
        """Notice what has died, and start it again. To be called a few times a second.

        Returns:
            lines for people.

        Raises:
            StackError: a part dies again and again; says which, and the end of its log.
        """
        events = [event for child in chain(*self._children.values()) if (event := child.watch())]
        if self._server and not self._server.alive:
            self._server.start()  # every write it answered is on the disk; the others wait for it
            events.append("the embedded server ended; it runs again")
        return events

    @property
    def parts(self) -> dict[str, list[int]]:
        """The processes of each part that should run."""
        server = [self._server.pid] if self._server and self._server.pid else []
        started = {part: [child.pid for child in alike if child.pid] for part, alike in self._children.items()}
        return {"redis": server} | started

    # Stopping --------------------------------------------------------------------------------------------------

    def stop_rest(self) -> None:
        """Stop all but the server: first what starts work, then what does it, last what it talks to."""
        children, self._children = self._children, {}
        try:
            patience = self.settings.answer_timeout_seconds + WORKER_MARGIN_SECONDS
            sources = ("scheduler", "beat", "worker")
            for names, seconds in ((sources, patience), (("receiver", "sandbox"), STOP_SECONDS)):
                _stop(list(chain(*(children.get(name, []) for name in names))), seconds)
        except KeyboardInterrupt:
            self._owner.end_all()  # told twice: everything ends at once, the server too; it loses nothing by it
            raise


def _stop(children: Sequence[Child], seconds: float) -> None:
    """Ask them all, then wait for each, together not longer than `seconds`."""
    for child in children:
        child.ask_to_end()
    deadline = time.monotonic() + seconds
    for child in children:
        child.end(deadline - time.monotonic())


def _environment(settings: Settings) -> dict[str, str]:
    """Our environment with exactly these settings, wherever they came from."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return others | settings.to_environment()


def _free_port(logs: Path, name: str, host: str) -> int:
    """The port that this part had last time, if it is still free; else any."""
    try:
        address = announcement_of(logs, name).read_text(encoding="utf-8")
        last = urlsplit(address.strip()).port or 0
    except (OSError, ValueError):
        last = 0
    return _probe(host, last) or _probe(host, 0) or 0


def _probe(host: str, port: int) -> int | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family) as probe:
            return int(probe.getsockname()[1])
    except OSError:
        return None

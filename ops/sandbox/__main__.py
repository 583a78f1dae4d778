"""`python -m ops.sandbox`: start the simulated API, and serve until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import uvicorn

from ops.sandbox.app import build_app
from ops.sandbox.options import SandboxOptions, parse
from ops.sandbox.sandbox import Sandbox

BACKLOG = 2048
GRACE_SECONDS = 1
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - how a client on this machine reaches it


class _Server(uvicorn.Server):
    """A uvicorn that leaves with exit code 0 on a signal, instead of dying by it once more."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started = started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._leave)
        yield

    def _leave(self) -> None:
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sandbox. Returns the exit code: 0 after a signal, 2 when it could not start."""
    options = parse(argv)
    try:
        listening = _listen(options)
    except OSError as error:
        return _complain(f"cannot listen on {options.host}:{options.port}: {error.strerror}; choose another --port")
    with contextlib.ExitStack() as stack:
        stack.callback(listening.close)
        try:
            directory = stack.enter_context(_directory(options.data_dir))
        except OSError as error:
            why = "a file is in its way" if isinstance(error, FileExistsError) else error.strerror
            return _complain(f"cannot use {options.data_dir}: {why}; choose another --data-dir")
        asyncio.run(_serve(options, directory, listening))
    return 0


async def _serve(options: SandboxOptions, directory: Path, listening: socket.socket) -> None:
    address = _address(listening)
    sandbox = Sandbox(options, directory, options.public_url or address)
    sandbox.life.resume()
    config = uvicorn.Config(
        build_app(sandbox),
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="off",
        access_log=False,
        server_header=False,
        log_level="critical",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    try:
        await _Server(config, lambda: _announce(options, address)).serve(sockets=[listening])
    finally:
        sandbox.stop()


def _listen(options: SandboxOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # By its protocol asyncio knows that it may turn Nagle off: without, answers over kept connections take 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((options.host, options.port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    host = ANYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def _directory(chosen: Path | None) -> Iterator[Path]:
    """The data directory, held by this process alone; without one, a temporary directory that goes with it."""
    directory = chosen or Path(tempfile.mkdtemp(prefix="blendq-sandbox-"))
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with (directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield directory
    finally:
        if chosen is None:
            shutil.rmtree(directory, ignore_errors=True)


def _announce(options: SandboxOptions, address: str) -> None:
    print(f"sandbox listening on {address} (personality {options.personality})", file=sys.stderr, flush=True)
    if options.announce_file is not None:
        part = options.announce_file.with_name(f"{options.announce_file.name}.{os.getpid()}.tmp")
        part.write_text(address, encoding="utf-8")
        part.replace(options.announce_file)


def _complain(words: str) -> int:
    print(f"sandbox: {words}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())

"""RedisClient: redis-py's client, with a shorter way to the server.

A worker asks the server some twenty times for each job, on several threads. Each time, redis-py's pool looks whether
the connection is still good, and each sending and reading is waited for in a system call of its own; any of these lets
the interpreter's lock go, and another thread in. So here a connection that has just answered is used again as it is,
and the kernel watches the time. The rest is redis-py's: addresses, users, TLS, commands, errors, connecting and how
often, health checks, transactions. Subscriptions go all its way.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import redis
from hiredis import pack_command
from redis.client import Pipeline
from redis.commands.core import Script as RedisScript
from redis.exceptions import NoScriptError

from jobs.net import kernel_waits

# So long after its last answer a connection is used without a look at it, unless another has failed since. That the
# server went away in this time, the call itself finds out, as if it had gone during the call.
TRUSTED_SECONDS = 0.5


class RedisClient(redis.Redis):
    """Takes what `redis.Redis` takes; for the kernel's watch, `redis_connect_func=watched_by_the_kernel`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # What no call uses, and since when; the last comes first. A deque needs no lock.
        self._idle: deque[tuple[Any, float]] = deque()
        self._failed_at = 0.0

    @contextmanager
    def one_call(self) -> Iterator[Any]:
        """A connection for one call. It is used again only where all was read that the call had to be answered: what
        comes late would be taken for the answer to the next.
        """
        connection = self._connection()
        try:
            yield connection
        except redis.ResponseError:  # an answer as good as any
            self._idle.append((connection, time.monotonic()))
            raise
        except BaseException as error:
            self._failed_at = time.monotonic()
            connection.disconnect()
            self.connection_pool.release(connection)
            if isinstance(error.__context__, BlockingIOError):  # redis-py does not know it for what it is
                raise redis.TimeoutError("no answer in time") from error
            raise
        self._idle.append((connection, time.monotonic()))

    def execute_command(self, *args: Any, **options: Any) -> Any:
        with self.one_call() as connection:
            connection.send_packed_command(connection.pack_command(*args))
            return self.answer(connection, args[0], options)

    def answer(self, connection: Any, command: Any, options: Mapping[str, Any]) -> Any:
        """What comes to a command that was sent."""
        return self.parse_response(connection, command, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:  # noqa: ARG002
        return _Packet(self, transaction)

    def register_script(self, script: Any) -> Script:
        return Script(self, script)

    def _connection(self) -> Any:
        try:
            connection, since = self._idle.pop()
        except IndexError:
            return self.connection_pool.get_connection()
        trusted = since > max(self._failed_at, time.monotonic() - TRUSTED_SECONDS)
        if trusted and connection.pid == os.getpid():
            return connection
        # The pool looks at it, and opens it again if need be. One that is another process's it does not know.
        self.connection_pool.release(connection)
        return self.connection_pool.get_connection()


class Script(RedisScript):
    """A script, called by its digest; a server that does not know it, or no longer, is told it."""

    def __init__(self, client: RedisClient, script: str) -> None:
        super().__init__(client, script)
        self._client = client

    def __call__(self, keys: Any = (), args: Any = (), client: Any = None) -> Any:
        if client is not None:  # a pipeline
            return super().__call__(keys, args, client)
        try:
            return self._ask(keys, args)
        except NoScriptError:
            self._client.script_load(self.script)
            return self._ask(keys, args)

    def begin(self, keys: Sequence[str], args: Sequence[Any]) -> Callable[[], Any]:
        """Send a call, and do something else while the server works on it.

        Returns:
            gives the answer; NoScriptError is for the caller. It must be called, once: it gives the connection back.
        """
        with ExitStack() as stack:
            connection = stack.enter_context(self._client.one_call())
            connection.send_packed_command(self._packed(keys, args))
            held = stack.pop_all()

        def answer() -> Any:
            with held:
                return connection.read_response()

        return answer

    def _ask(self, keys: Sequence[str], args: Sequence[Any]) -> Any:
        with self._client.one_call() as connection:
            connection.send_packed_command(self._packed(keys, args))
            return connection.read_response()

    def _packed(self, keys: Sequence[str], args: Sequence[Any]) -> list[bytes]:
        """By hiredis alone: redis-py looks at each argument beforehand, and scripts have many."""
        return [pack_command(("EVALSHA", self.sha, len(keys), *keys, *args))]


class _Packet(Pipeline):
    """Several commands at once. Nothing is watched: what a transaction goes by, scripts look at."""

    def __init__(self, client: RedisClient, transaction: bool) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, transaction, None)
        self._client = client
        self._all_or_none = transaction

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        if self._all_or_none or self.scripts:  # these the server must know first
            # With a connection of its own redis-py would give it back however this ends. Over TCP its pool hands out
            # one with answers left to be read, since they may be notices of maintenance.
            with self._client.one_call() as self.connection:
                return super().execute(raise_on_error)
        calls, self.command_stack = self.command_stack, []
        if not calls:
            return []
        answers: list[Any] = []
        with self._client.one_call() as connection:
            connection.send_packed_command(connection.pack_commands([command for command, _ in calls]))
            for command, options in calls:
                try:
                    answers.append(self._client.answer(connection, command[0], options))
                except redis.ResponseError as error:
                    answers.append(error)
        if raise_on_error:
            self.raise_first_error(calls, answers)  # type: ignore[no-untyped-call]
        return answers

    def reset(self) -> Any:
        self.connection = None  # whoever lent it takes it back
        return super().reset()


def watched_by_the_kernel(connection: Any) -> None:
    """What redis-py does with a new connection; and its timeout is kept by the kernel, not by a system call before each
    sending and reading. TLS cannot be watched so: it would go on reading.
    """
    sock, seconds = connection._sock, connection.socket_timeout  # noqa: SLF001
    if os.name == "posix" and not isinstance(sock, ssl.SSLSocket):
        for wait in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            kernel_waits.bound(sock, wait, seconds)
        sock.settimeout(None)
    try:
        connection.on_connect()
    except BaseException:  # redis-py closes it after errors of its own alone, and else uses it as it is
        connection.disconnect()
        raise

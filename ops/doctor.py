"""What is checked before a person asks for help: every part, from here, with what to do where something is wrong.

Nothing here costs money or changes a job.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Any

import redis

from jobs.epoch import Epoch
from jobs.errors import EpochLost, StoreForbidden
from jobs.keys import Keys
from jobs.policy import Policy
from jobs.queue import QUEUE_LISTS, make_app
from jobs.server import connect, server_time, to_text, without_password
from jobs.settings import Settings
from jobs.slots.pins import Pin, doors_for
from jobs.store import JobStore
from ops.doctor_api import apis, receiver
from ops.findings import Finding, Level, skew
from producer.upstream import reports

MIN_REDIS = (7, 0)
PINGS = 20
SLOW_PING_SECONDS = 0.02
MANY_WAKEUPS = 1000
WORKER_SECONDS = 3.0


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, as soon as it is known."""
    yield from _data_dir(settings)
    reachable = True
    for finding in _redis(settings):
        reachable = reachable and not (finding.name == "redis" and finding.level is Level.WRONG)
        yield finding
    if reachable:
        yield from _epoch_and_pause(settings)
        yield from _workers(settings)
    yield from apis(settings)
    yield from receiver(settings)


def _data_dir(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".doctor"
        probe.write_bytes(b"")
        probe.unlink()
        disk = shutil.disk_usage(folder)
    except OSError as error:
        advice = "make it writable for this user, or choose another with BLENDQ_DATA_DIR"
        yield Finding("data folder", Level.WRONG, f"{folder}: {error.strerror}", advice)
        return
    share = 100 * disk.free / disk.total
    says = f"{folder} can be written; {share:.0f}% of its disk is free"
    if share < settings.min_free_disk_percent:
        yield Finding("data folder", Level.WRONG, says, "make room: submitting stops below min_free_disk_percent")
    else:
        yield Finding("data folder", Level.OK, says)


# Redis -------------------------------------------------------------------------------------------------------------


def _redis(settings: Settings) -> Iterator[Finding]:
    place = without_password(settings.redis_address())
    with connect(settings.redis_address()) as client:
        try:
            client.ping()
        except redis.AuthenticationError as error:
            yield Finding("redis", Level.WRONG, f"it refuses our password: {error}", "look at BLENDQ_REDIS_URL")
            return
        except redis.RedisError as error:
            advice = "start `blendq up`, or set BLENDQ_REDIS_URL to one that runs"
            yield Finding("redis", Level.WRONG, f"no answer at {place} ({type(error).__name__})", advice)
            return
        yield Finding("redis", Level.OK, f"answers at {place}")
        yield from _version(client)
        yield from _durable(client)
        yield _latency(client)
        yield skew("redis clock", server_time(client))


def _info(client: redis.Redis, section: str) -> Mapping[str, Any] | None:
    """None where our user may not ask."""
    try:
        found: Any = client.info(section)
    except redis.ResponseError:
        return None
    return {to_text(name): value for name, value in found.items()}


def _version(client: redis.Redis) -> Iterator[Finding]:
    if (info := _info(client, "server")) is None:
        yield Finding("redis version", Level.OK, "not told to this user")
        return
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version"))
    if tuple(map(int, version.split(".")[:2])) < MIN_REDIS:
        yield Finding("redis version", Level.WRONG, f"{name} {version} is too old", "use Redis 7 or newer, or Valkey")
    else:
        yield Finding("redis version", Level.OK, f"{name} {version}")


def _durable(client: redis.Redis) -> Iterator[Finding]:
    wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    try:
        found: Any = client.config_get(*wanted)
    except redis.ResponseError:
        yield Finding("redis durability", Level.OK, "not told to this user; ops/redis.conf has what it must be")
        return
    for name, value in wanted.items():
        actual = found.get(name)
        if actual != value:
            why = "records may be thrown away when it is full" if "memory" in name else "it may forget what it was told"
            says = f"{name} is {actual!r}: {why}"
            yield Finding("redis durability", Level.WRONG, says, f"set {name} to {value}, as ops/redis.conf does")
            return
    yield Finding("redis durability", Level.OK, "every write reaches its disk; nothing is evicted")


def _latency(client: redis.Redis) -> Finding:
    times = []
    for _ in range(PINGS):
        began = time.perf_counter()
        client.ping()
        times.append(time.perf_counter() - began)
    median = statistics.median(times)
    says = f"answers in {median * 1000:.2f} ms (median of {PINGS})"
    if median > SLOW_PING_SECONDS:
        return Finding(
            "redis latency", Level.WARNING, says, "keep it near the workers: each job needs some twenty answers"
        )
    return Finding("redis latency", Level.OK, says)


# What runs ---------------------------------------------------------------------------------------------------------


def _epoch_and_pause(settings: Settings) -> Iterator[Finding]:
    with connect(settings.redis_address()) as client:
        store = JobStore(client, Policy.from_settings(settings))
        try:
            Epoch(client, Keys(), settings.data_dir).verify()
            yield Finding("records", Level.OK, "Redis has the records that this data folder belongs to")
        except EpochLost as error:
            yield Finding("records", Level.WRONG, str(error), "see docs/deploy.md, Backup")
        except OSError as error:
            says = f"the data folder cannot tell which Redis it belongs to: {error.strerror}"
            yield Finding("records", Level.WRONG, says, "mend the data folder first")
        yield from _pauses(store, settings)


def _pauses(store: JobStore, settings: Settings) -> Iterator[Finding]:
    found = reports(store, settings)
    pauses = [("", pause) for pause in [store.gate.paused()] if pause]
    pauses += [(f" to {one.name}", one.pause) for one in found if one.pause]
    for where, pause in pauses:
        says = f"submitting{where} is paused ({pause.kind}): {pause.message}"
        yield Finding("submitting", Level.WRONG, says, "mend that; it goes on by itself, or at once: blendq resume")
    if not pauses:
        yield Finding("submitting", Level.OK, "is not paused")
    for one in found:
        if one.stray:
            yield Finding("upstreams", Level.WRONG, one.stray_words, one.STRAY_ADVICE)
    for queue in store.turns.queues() if settings.apis else []:
        if not doors_for(Pin.parse(queue.pin), settings.apis):
            asked = f"jobs of campaign {queue.campaign} wait for {Pin.parse(queue.pin).words}"
            says = f"{asked}, and no API in the settings will do"
            yield Finding("upstreams", Level.WRONG, says, "name one that does, or cancel them")


def _workers(settings: Settings) -> Iterator[Finding]:
    try:
        yield from _asked_workers(settings)
    except (redis.exceptions.NoPermissionError, StoreForbidden):
        yield Finding("workers", Level.OK, "not told to this user; ask where a worker runs")


def _asked_workers(settings: Settings) -> Iterator[Finding]:
    with connect(settings.redis_address()) as client, make_app(settings) as app:
        answers = app.control.ping(timeout=WORKER_SECONDS) or []
        names = sorted(name for answer in answers for name in answer)
        if names:
            yield Finding("workers", Level.OK, f"{len(names)} answer: {', '.join(names)}")
        else:
            yield Finding("workers", Level.WRONG, "none answers", "start one: blendq worker (or all parts: blendq up)")
        waiting = JobStore(client, Policy.from_settings(settings)).gate.messages(QUEUE_LISTS)
        says = f"{waiting} wake-ups wait"
        if waiting > MANY_WAKEUPS:
            yield Finding("wake-ups", Level.WARNING, says, "start more workers, or look why they take none")
        else:
            yield Finding("wake-ups", Level.OK, says)

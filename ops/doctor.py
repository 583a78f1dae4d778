"""What is checked before a person asks for help: every part, from here, with what to do where something is wrong.

Nothing here costs money or changes a job.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx
import redis

from jobs.epoch import Epoch
from jobs.errors import BlendqError, EpochLost
from jobs.keys import Keys
from jobs.net.addresses import is_public
from jobs.policy import Policy
from jobs.queue import QUEUE_LISTS, make_app
from jobs.server import connect, server_time, to_text, without_password
from jobs.settings import Settings
from jobs.slots.pins import Pin, doors_for
from jobs.store import JobStore
from jobs.upstreams import Upstream
from producer.upstream import reports
from worker.proxy.client import ProxyClient
from worker.proxy.lookups import CannotTell

MIN_REDIS = (7, 0)
PINGS = 20
SLOW_PING_SECONDS = 0.02
MANY_WAKEUPS = 1000
WORKER_SECONDS = 3.0
MAX_SKEW_SECONDS = 5.0
ASK_SECONDS = 10.0
_OF_THE_API = ("KEY", "AUTH", "URL")
# No server numbers its tasks so.
NO_TASK = "blendq-doctor"


class Level(StrEnum):
    """How a check came out. A warning is worth a look, and stops nothing."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """What one check found; `advice` says what to do, where something is not right."""

    name: str
    level: Level
    says: str
    advice: str = ""


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
    yield from _apis(settings)
    yield from _receiver(settings)


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
        yield _skew("redis clock", server_time(client))


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


def _skew(name: str, theirs: datetime) -> Finding:
    skew = (datetime.now(UTC) - theirs).total_seconds()
    if abs(skew) > MAX_SKEW_SECONDS:
        says = f"this machine's clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
        return Finding(name, Level.WARNING, says, "set the clock; jobs do not depend on it, people who read logs do")
    return Finding(name, Level.OK, "agrees with this machine's")


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
            says = f"{one.name} has jobs of ours, and is not in the settings: nobody asks about them"
            yield Finding("upstreams", Level.WRONG, says, "name it again with its url and key, until they are done")
    for queue in store.turns.queues() if settings.apis else []:
        if not doors_for(Pin.parse(queue.pin), settings.apis):
            says = f"jobs of campaign {queue.campaign} wait for {Pin.parse(queue.pin).words}, which no upstream has"
            yield Finding("upstreams", Level.WRONG, says, "name one that does, or cancel them")


def _workers(settings: Settings) -> Iterator[Finding]:
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


# The API, and the way back -----------------------------------------------------------------------------------------


def _apis(settings: Settings) -> Iterator[Finding]:
    if not settings.apis:
        advice = "set BLENDQ_API_URL and BLENDQ_API_KEY; or try things with --sandbox"
        yield Finding("api", Level.WARNING, "none is configured", advice)
    for one in settings.apis:
        name = f"api {one.name}" if settings.upstreams else "api"
        yield _api(name, one, settings)
        yield from _api_clock(name, one)


def _api(name: str, api: Upstream, settings: Settings) -> Finding:
    try:
        with ProxyClient.of(api, settings) as proxy:
            answer = proxy.fetch(NO_TASK)
    except BlendqError as error:
        return Finding(name, Level.WRONG, str(error), "mend the setting that it names")
    key, auth, url = ("key", "auth", "url") if settings.upstreams else (f"BLENDQ_API_{one}" for one in _OF_THE_API)
    if isinstance(answer, CannotTell) and answer.key_refused:
        advice = f"set {key} to a key that it takes, and {auth} to the header that it wants"
        return Finding(name, Level.WRONG, f"{api.url} refuses the key", advice)
    if isinstance(answer, CannotTell) and not answer.answered:
        return Finding(name, Level.WRONG, f"{api.url}: {answer.message}", f"look at {url}; jobs wait until it answers")
    if isinstance(answer, CannotTell):
        advice = "is it the address where /mj/submit/blend lives?"
        return Finding(name, Level.WARNING, f"{api.url} answers oddly: {answer.message}", advice)
    return Finding(name, Level.OK, f"{api.url} answers, and takes the key")


def _api_clock(name: str, api: Upstream) -> Iterator[Finding]:
    try:
        answer = httpx.head(api.url, timeout=ASK_SECONDS, trust_env=False)
        yield _skew(f"{name} clock", parsedate_to_datetime(answer.headers["date"]))
    except (httpx.HTTPError, KeyError, ValueError):
        return  # it has no clock to compare with


def _receiver(settings: Settings) -> Iterator[Finding]:
    if settings.public_url is None:
        says = "public_url is not set: blendq asks the API instead of being called back"
        advice = "set BLENDQ_PUBLIC_URL where the API can reach the receiver: pictures come a little sooner"
        yield Finding("callbacks", Level.WARNING, says, advice)
        return
    url = str(settings.public_url).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_local(parts.hostname or ""):
        says = f"{url} is not https: who sees a callback's address can forge the next"
        yield Finding("callbacks", Level.WARNING, says, "put a proxy with TLS before it (docs/deploy.md)")
    try:
        status = httpx.post(f"{url}/hooks/doctor", timeout=ASK_SECONDS, trust_env=False).status_code
    except httpx.HTTPError as error:
        says = f"{url} is not reached from here ({type(error).__name__})"
        yield Finding("callbacks", Level.WRONG, says, "start `blendq receiver`, and look at the proxy before it")
        return
    if status not in (404, 429):
        says = f"{url} answers HTTP {status} to a forged callback, which is not the receiver's answer (404)"
        yield Finding("callbacks", Level.WRONG, says, "let the proxy pass /hooks/ on to the receiver")
    else:
        says = f"{url} reaches the receiver from here; whether the API reaches it too, only a first callback tells"
        yield Finding("callbacks", Level.OK, says)


def _is_local(host: str) -> bool:
    """Whether API and receiver talk on one machine or network, as with the sandbox."""
    try:
        return not is_public(ip_address(host))
    except ValueError:
        return "." not in host

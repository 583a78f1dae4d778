"""The schedule: which faults come when. A pure function of the options, so that a seed replays its run."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ops.chaos.options import Options
from ops.sandbox.faults import SPOILS

# Where in its life of a submission a worker can be struck; `now` is wherever it happens to be.
STEPS = (
    "released",
    "claimed",
    "mid-upload",
    "before-commit",
    "after-commit",
    "after-last-byte",
    "before-record",
    "after-record",
    "before-collected",
    "after-collected",
)
# A fault is due when so large a share of the jobs was accepted; the rest is left for the last ones to recover in.
LATEST_SHARE = 0.85
# Longer than every lease of the scaled run, so that whoever sleeps through it wakes up without its lease.
OVERSLEEPS = (5.0, 7.0)
BRIEF = (1.0, 3.0)
INSTANT = (0.0, 0.0)
# For faults that need jobs that were not sent yet, or a producer that is not done.
WHILE_JOBS_WAIT = 0.3
AT_ONCE = 0.0

WEBHOOKS_FAIL = "webhooks-fail"
WAYS_TO_FAIL = ("answers 500", "hangs", "cuts", "is away", "worker dies")

Draw = Callable[[random.Random, Options], dict[str, Any]]


@dataclass(frozen=True)
class Kind:
    """A kind of fault: the rows of the hazard list that it plays, how long it lasts, how often it is drawn.

    One of weight 0 is drawn only where `--only` asks for it: the stack has a part then that it has not otherwise.
    `latest` is the share of accepted jobs by which it is due; `disk` is the folder of the data that it fills.
    """

    rows: str
    lasts: tuple[float, float] = BRIEF
    weight: int = 2
    draw: Draw = lambda _chance, _options: {}
    latest: float = LATEST_SHARE
    disk: str = ""


@dataclass(frozen=True)
class Fault:
    """One fault. Begins once `after` submissions were accepted, or earlier where nothing moves any more."""

    number: int
    kind: str
    after: int
    lasts_seconds: float
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def _worker(chance: random.Random, options: Options) -> dict[str, Any]:
    return {"worker": chance.randrange(options.workers)}


def _worker_at_step(chance: random.Random, options: Options) -> dict[str, Any]:
    step = chance.choice(("now", *STEPS))
    return _worker(chance, options) | {"step": options.step or step}


def _receiver(chance: random.Random, _: Options) -> dict[str, Any]:
    return {"receiver": chance.randrange(2)}


def _share(chance: random.Random, _: Options) -> dict[str, Any]:
    return {"share": round(chance.random(), 3), "count": chance.randint(1, 5)}


def _several(chance: random.Random, _: Options) -> dict[str, Any]:
    return {"count": chance.randint(1, 5)}


def _redis_link(chance: random.Random, options: Options) -> dict[str, Any]:
    return {"link": chance.choice(("redis", "redis", "redis-receiver"))} | _share(chance, options)


def _delay(chance: random.Random, options: Options) -> dict[str, Any]:
    return {"seconds": round(chance.uniform(0.02, 0.2), 3)} | _redis_link(chance, options)


def _skew(chance: random.Random, options: Options) -> dict[str, Any]:
    return _hour(chance) | _worker(chance, options)


def _hour(chance: random.Random) -> dict[str, Any]:
    return {"seconds": chance.choice((-3600, 3600))}


def _strength(chance: random.Random, _: Options) -> dict[str, Any]:
    return {"share": chance.choice((0.2, 0.5, 1.0))}


def _way(chance: random.Random, _: Options) -> dict[str, Any]:
    return {"way": chance.choice(SPOILS)}


def _receiver_skew(chance: random.Random, options: Options) -> dict[str, Any]:
    return _hour(chance) | _receiver(chance, options)


def _only_skew(chance: random.Random, _: Options) -> dict[str, Any]:
    return _hour(chance)


def _way_to_fail(chance: random.Random, _: Options) -> dict[str, Any]:
    return {"way": chance.choice(WAYS_TO_FAIL)}


KINDS: dict[str, Kind] = {
    # Processes.
    "worker-kill": Kind("3, 5, 6, 7, 19", INSTANT, 10, _worker_at_step),
    "worker-term": Kind("23", INSTANT, 4, _worker),
    "worker-restart": Kind("23", INSTANT, 2, _worker),
    "worker-stop": Kind("6, 24", OVERSLEEPS, 8, _worker_at_step),
    "worker-disk-full": Kind("18", BRIEF, 2, _worker),
    "worker-clock": Kind("3", (4.0, 6.0), 2, _skew),
    "poison-job": Kind("5", INSTANT, 2, _share, WHILE_JOBS_WAIT),
    "receiver-clock": Kind("3", (4.0, 6.0), 1, _receiver_skew),
    "receiver-kill": Kind("11", INSTANT, 3, _receiver),
    "receiver-term": Kind("23", INSTANT, 1, _receiver),
    "receiver-stop": Kind("11", (2.0, 4.0), 2, _receiver),
    "beat-kill": Kind("2", INSTANT),
    "beat-stop": Kind("2", (2.0, 5.0)),
    "beat-clock": Kind("2, 3", (4.0, 6.0), 1, _only_skew),
    "producer-kill": Kind("1", INSTANT, 3),
    "producer-clock": Kind("3", (2.0, 4.0), 1, _only_skew, AT_ONCE),
    # Redis.
    "redis-kill": Kind("21", (0.0, 2.0), 4),
    "redis-stop": Kind("21", (2.0, 5.0), 3),
    "redis-pause": Kind("21", (1.0, 3.0)),
    "redis-full": Kind("21", (1.0, 4.0)),
    "redis-read-only": Kind("21", (1.0, 4.0)),
    "redis-no-replicas": Kind("21", (1.0, 4.0), 1),
    "redis-swapped": Kind("22", (1.0, 3.0), 2),
    "redis-disk-full": Kind("18, 21", (1.0, 3.0), 2, disk="redis"),
    "pictures-disk-full": Kind("18", (1.0, 3.0), 2, disk="images"),
    "redis-cut": Kind("4, 21", INSTANT, 2, _redis_link),
    "redis-lost-replies": Kind("4", (0.5, 2.0), 4, _redis_link),
    "redis-black-hole": Kind("21, 24", (2.0, 5.0), 2, _redis_link),
    "redis-half-open": Kind("21, 24", (3.0, 6.0), 2, _redis_link),
    "redis-delay": Kind("21", (1.0, 4.0), 2, _delay),
    "redis-refuse": Kind("21", (1.0, 3.0), 1, _redis_link),
    "wakeups-lost": Kind("2", (0.5, 2.0)),
    "wakeups-doubled": Kind("3", (0.5, 2.0)),
    # Between worker and API.
    "api-cut-upload": Kind("6", BRIEF, 3, _share),
    "api-cut-last-byte": Kind("6", BRIEF, 3, _several),
    "api-cut-after-last-byte": Kind("7", BRIEF, 3, _several),
    "api-cut-answer": Kind("7", BRIEF, 4, _several),
    "api-cut-reply": Kind("7, 9, 17", BRIEF, 2, _share),
    "api-black-hole": Kind("7, 14", (2.0, 5.0), 2),
    "api-half-open": Kind("6, 8", (2.0, 4.0)),
    "api-delay": Kind("7", BRIEF, 1, _delay),
    "api-refuse": Kind("6, 14", BRIEF),
    # Between API and receiver.
    "hooks-cut": Kind("11", BRIEF, 1, _share),
    "hooks-black-hole": Kind("11, 13", (1.0, 4.0)),
    "hooks-lost-replies": Kind("11", BRIEF, 1, _several),
    # The API itself.
    "api-restarted": Kind("14", (0.0, 2.0), 3),
    "api-forgets": Kind("14", (0.0, 2.0), 2),
    "api-stop": Kind("7, 14", (2.0, 4.0)),
    "callbacks-dropped": Kind("11", (2.0, 6.0), 2, _strength),
    "callbacks-repeated": Kind("11", BRIEF),
    "callbacks-reordered": Kind("11", BRIEF),
    "callbacks-late": Kind("11", BRIEF),
    "callbacks-early": Kind("11", BRIEF),
    "callbacks-forged": Kind("12", BRIEF, 2, _several),
    "callbacks-storm": Kind("12, 13", (2.0, 4.0), 2, _several),
    "pictures-spoiled": Kind("17", BRIEF, 2, _way),
    "pictures-spoiled-for-good": Kind("17", (0.5, 1.0), 1, _way),
    "pictures-shared": Kind("16", (0.5, 1.0), 1),
    "links-expired": Kind("17", BRIEF),
    "5xx-before": Kind("9", BRIEF, 1, _strength),
    "5xx-after": Kind("7, 9", BRIEF, 2, _strength),
    "answers-lost": Kind("7", BRIEF, 2, _strength),
    "gateway-loses": Kind("7, 9", BRIEF, 1, _strength),
    "wrong-key": Kind("10", BRIEF),
    "rate-limit": Kind("10", BRIEF, 1),
    "no-room": Kind("10", BRIEF, 1),
    "no-account": Kind("10", BRIEF, 1),
    "quota": Kind("10", BRIEF, 1),
    "html-answers": Kind("9", BRIEF, 1),
    "internal-error": Kind("9", BRIEF, 1),
    "slow-answers": Kind("7", BRIEF, 1),
    "questions-fail": Kind("14", BRIEF, 1, _strength),
    "tasks-fail": Kind("15", BRIEF, 1, _strength),
    "failures-flip": Kind("15", BRIEF),
    "duplicate-ids": Kind("16", (0.5, 1.0), 1),
    # The producer's own webhooks.
    WEBHOOKS_FAIL: Kind("20", BRIEF, 0, _way_to_fail),
}


def draw(options: Options) -> list[Fault]:
    """The faults of a run, in the order in which they are due."""
    chance = random.Random(options.seed)  # noqa: S311  (repeatable on purpose)
    names = list(options.only or KINDS)
    weights = [KINDS[name].weight or bool(options.only) for name in names]
    drawn = [_drawn(chance, options, chance.choices(names, weights)[0]) for _ in range(options.faults)]
    due = sorted(drawn, key=lambda fault: fault.after)
    return [Fault(number, f.kind, f.after, f.lasts_seconds, f.details) for number, f in enumerate(due)]


def _drawn(chance: random.Random, options: Options, name: str) -> Fault:
    kind = KINDS[name]
    after = int(chance.random() * kind.latest * options.jobs)
    lasts = round(chance.uniform(*kind.lasts), 2)
    if options.lasts_seconds is not None:
        lasts = options.lasts_seconds
    return Fault(0, name, after, lasts, kind.draw(chance, options))

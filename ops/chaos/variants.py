"""Deliberately broken variants of the product, each with the invariant that it breaks and the runs that must catch it.

They are patched into the processes of a run; the product itself knows nothing of them. A patch that finds nothing to
replace raises, so that a variant cannot quietly become the unbroken product when that changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ops.chaos import breakages
from ops.chaos.options import Options


@dataclass(frozen=True)
class Variant:
    """One way to be wrong.

    `cases` are tried in order until one catches it. `server_command` breaks Redis instead of the code.
    """

    invariant: str
    patch: Callable[[], None]
    cases: tuple[Options, ...]
    server_command: tuple[str, ...] = ()


def _case(only: str, *, seed: int = 1, jobs: int = 30, faults: int = 6, **more: object) -> Options:
    return Options(seed=seed, jobs=jobs, faults=faults, only=tuple(only.split(",")), settle_seconds=60.0, **more)  # type: ignore[arg-type]


VARIANTS: dict[str, Variant] = {
    "fence-off": Variant(
        "I3: a stale worker cannot release its last byte",
        breakages.fence_off,
        (
            _case("worker-stop", step="before-commit", faults=4, personality="gateway"),
            _case("worker-stop", step="mid-upload", faults=6, seed=2, personality="gateway"),
        ),
    ),
    "commit-late": Variant(
        "I2: until the commit is durable, nothing can have been paid",
        breakages.commit_late,
        (_case("worker-kill", step="before-commit", faults=4, personality="gateway"),),
    ),
    "submit-retried": Variant(
        "I2: the HTTP client repeats no submission",
        breakages.submit_retried,
        (_case("api-cut-answer,answers-lost,api-cut-after-last-byte"),),
    ),
    "naive-compare-and-set": Variant(
        "every change is written under the version that it was decided by",
        breakages.naive_compare_and_set,
        (
            _case("redis-delay,wakeups-doubled", faults=16, jobs=60),
            _case("redis-delay,wakeups-doubled", faults=16, jobs=60, seed=2),
        ),
    ),
    "no-sweep": Variant(
        "I7: with no callback and no wake-up, every job comes to its end",
        breakages.no_sweep,
        (_case("worker-kill,wakeups-lost,callbacks-dropped"),),
    ),
    "blind-22": Variant(
        "I2: a 22 with a task id is accepted, and not sent again",
        breakages.blind_22,
        (
            _case("callbacks-dropped", faults=3, jobs=60),
            _case("callbacks-dropped,slow-answers", faults=4, jobs=60, seed=2),
        ),
    ),
    "unsure-resubmitted": Variant(
        "I2: no answer is no refusal",
        breakages.unsure_resubmitted,
        (_case("answers-lost,api-cut-answer", personality="gateway"),),
    ),
    "mac-unverified": Variant(
        "I4: a forged callback changes nothing",
        breakages.mac_unverified,
        (_case("callbacks-forged"),),
    ),
    "attempt-reused": Variant(
        "a number names one attempt: it is the fence",
        breakages.attempt_reused,
        (
            _case("tasks-fail,callbacks-repeated,callbacks-late", faults=10, jobs=60),
            _case("tasks-fail,callbacks-reordered,callbacks-late", faults=12, jobs=60, seed=2),
        ),
    ),
    "lease-end-resubmits": Variant(
        "I2: a worker lost after its commit may have paid",
        breakages.lease_end_resubmits,
        (_case("worker-kill", step="after-last-byte", faults=4, personality="gateway"),),
    ),
    "callbacks-move-back": Variant(
        "I6: status only moves forward, one success a job",
        breakages.callbacks_move_back,
        (_case("callbacks-repeated,callbacks-late,callbacks-reordered", faults=8, jobs=60),),
    ),
    "5xx-is-refusal": Variant(
        "I2: a 5xx after the last byte may have been accepted",
        breakages.server_error_is_refusal,
        (_case("5xx-after", personality="gateway"),),
    ),
    "store-not-durable": Variant(
        "I9: what was acknowledged survives",
        lambda: None,
        (_case("redis-kill", faults=3),),
        server_command=("CONFIG", "SET", "appendonly", "no"),
    ),
    "success-before-file": Variant(
        "a job has succeeded only when its picture is on disk",
        breakages.success_before_file,
        (_case("worker-kill", step="after-collected", faults=4),),
    ),
    "wake-up-is-truth": Variant(
        "I1: a lost wake-up loses no job",
        breakages.wake_up_is_truth,
        (_case("worker-kill,wakeups-lost", step="released", faults=4),),
    ),
    "conflict-ignored": Variant(
        "I5: a task has one job",
        breakages.conflict_ignored,
        # Asked by its id, the API shows one task of two; a callback would still bring each job its own.
        (
            _case("duplicate-ids", faults=6, jobs=60, personality="gateway"),
            _case("duplicate-ids", faults=12, jobs=60, seed=2, personality="gateway"),
        ),
    ),
    "epoch-ignored": Variant(
        "I2: while Redis lacks its records, submitting stops with an alarm",
        breakages.epoch_ignored,
        (_case("redis-swapped", faults=2),),
    ),
    "poison-forgiven": Variant(
        "I1: a job that kills its workers comes to an end too",
        breakages.poison_forgiven,
        (_case("poison-job", faults=1),),
    ),
}

"""What a batch of runs came to, in numbers and in lines for people."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

BAD = ("lost", "double_paid", "wrong")


def good(entry: Mapping[str, Any]) -> bool:
    """Whether a run came to its end with nothing lost, paid twice or wrong."""
    return not entry["problem"] and not any(entry[name] for name in BAD)


def one_line(entry: Mapping[str, Any]) -> str:
    """A run, with the folder of one that failed."""
    seed = f"seed {entry['seed']}"
    if entry["problem"]:
        return f"{seed}: NO VERDICT: {entry['problem']}"
    bad = ", ".join(f"{name} {len(entry[name])}" for name in BAD)
    finals = ", ".join(f"{count} {status}" for status, count in sorted(entry["final"].items()))
    where = "" if good(entry) else f"; FAILED: {entry['folder']}"
    return f"{seed}: {bad}; {entry['jobs']} jobs: {finals}; {entry['seconds']:.0f} s{where}"


def summary(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of all runs; of recoveries the slowest of each kind of fault, in seconds."""
    ended = [entry for entry in entries if not entry["problem"]]
    slowest: dict[str, float] = defaultdict(float)
    faults: Counter[str] = Counter()
    for entry in ended:
        faults.update(strike["kind"] for strike in entry["strikes"])
        for kind, seconds in entry["recovery_seconds"].items():
            slowest[kind] = max(slowest[kind], seconds)
    return {
        "good": all(good(entry) for entry in entries),
        "runs": len(entries),
        "failed_seeds": [entry["seed"] for entry in entries if not good(entry)],
        "jobs": sum(entry["jobs"] for entry in ended),
        "faults": faults.total(),
        "final": dict(_added(ended, "final")),
        **{name: sum(len(entry[name]) for entry in ended) for name in BAD},
        "parked": dict(_added(ended, "parked_as")),
        "paid_again": dict(_added(ended, "paid_again")),
        "slowest_recovery_seconds": dict(sorted(slowest.items(), key=lambda item: -item[1])),
        "would_not_leave": dict(Counter(name for entry in ended for name in entry["would_not_leave"])),
        "died_alone": dict(Counter(line for entry in ended for line in entry["died_alone"])),
        "run_seconds": round(sum(entry["seconds"] for entry in ended), 1),
    }


def summary_lines(made: Mapping[str, Any]) -> list[str]:
    bad = ", ".join(f"{name} {made[name]}" for name in BAD)
    lines = [f"{made['runs']} runs, {made['jobs']} jobs, {made['faults']} faults: {bad}"]
    for name in ("final", "parked", "paid_again", "slowest_recovery_seconds", "would_not_leave", "died_alone"):
        told = ", ".join(f"{key} {value}" for key, value in made[name].items())
        lines.append(f"{name.replace('_', ' ')}: {told or 'none'}")
    if made["failed_seeds"]:
        lines.append(f"failed seeds: {', '.join(map(str, made['failed_seeds']))}")
    return lines


def _added(entries: Sequence[Mapping[str, Any]], name: str) -> Counter[str]:
    added: Counter[str] = Counter()
    for entry in entries:
        added.update(entry[name])
    return added

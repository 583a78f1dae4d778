"""What a batch of runs came to, in numbers and in lines for people."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

BAD = ("lost", "double_paid", "wrong")
TIMES = {
    "recovery": "recovered_after",  # from the end of a fault until some job moved on
    "acceptance": "accepted_after",  # the same, until the API accepted a submission
    "held": "held_for",  # from a worker's death until all that was in workers' hands had moved on
}


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
    leaving = [seconds for entry in ended for seconds in entry["leaving_seconds"]]
    strikes = [strike for entry in ended for strike in entry["strikes"]]
    return {
        "good": all(good(entry) for entry in entries),
        "runs": len(entries),
        "failed_seeds": [entry["seed"] for entry in entries if not good(entry)],
        "jobs": sum(entry["jobs"] for entry in ended),
        "faults": len(strikes),
        "final": dict(_added(ended, "final")),
        **{name: sum(len(entry[name]) for entry in ended) for name in BAD},
        "parked": dict(_added(ended, "parked_as")),
        "paid_again": dict(_added(ended, "paid_again")),
        "parked_without_fault": sum(len(entry["doubt"]["without_fault"]) for entry in ended),
        "most_parked_by_one_fault": max((entry["doubt"]["most_parked_by_one_fault"] for entry in ended), default=0),
        **{f"{name}_seconds": _times(strikes, key) for name, key in TIMES.items()},
        "would_not_leave": dict(Counter(name for entry in ended for name in entry["would_not_leave"])),
        "leaving_seconds": _of(leaving) if leaving else {},
        "died_alone": dict(Counter(line for entry in ended for line in entry["died_alone"])),
        "run_seconds": round(sum(entry["seconds"] for entry in ended), 1),
    }


def summary_lines(made: Mapping[str, Any]) -> list[str]:
    bad = ", ".join(f"{name} {made[name]}" for name in BAD)
    lines = [f"{made['runs']} runs, {made['jobs']} jobs, {made['faults']} faults: {bad}"]
    lines += [
        f"parked without a fault: {made['parked_without_fault']}; most by one: {made['most_parked_by_one_fault']}"
    ]
    for name in ("final", "parked", "paid_again", "leaving_seconds", "would_not_leave", "died_alone"):
        told = ", ".join(f"{key} {value}" for key, value in made[name].items())
        lines.append(f"{name.replace('_', ' ')}: {told or 'none'}")
    for name in TIMES:
        times = made[f"{name}_seconds"].items()
        told = ", ".join(f"{kind} {of['median']} ({of['slowest']}, {of['count']})" for kind, of in times)
        lines.append(f"{name} s, median (slowest, count): {told or 'none'}")
    if made["failed_seeds"]:
        lines.append(f"failed seeds: {', '.join(map(str, made['failed_seeds']))}")
    return lines


def _times(strikes: Sequence[Mapping[str, Any]], key: str) -> dict[str, dict[str, float]]:
    """For each kind of fault its times, the kind with the slowest first."""
    found: dict[str, list[float]] = defaultdict(list)
    for strike in strikes:
        if key in strike:
            found[strike["kind"]].append(strike[key])
    told = {kind: _of(times) for kind, times in found.items()}
    return dict(sorted(told.items(), key=lambda item: -item[1]["slowest"]))


def _of(times: Sequence[float]) -> dict[str, float]:
    return {"count": len(times), "median": round(median(times), 2), "slowest": max(times)}


def _added(entries: Sequence[Mapping[str, Any]], name: str) -> Counter[str]:
    added: Counter[str] = Counter()
    for entry in entries:
        added.update(entry[name])
    return added

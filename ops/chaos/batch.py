"""Batches: many seeds, each in a process of its own, a few at once; every result is kept as it comes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ops.chaos.options import Options
from ops.chaos.summary import one_line, summary, summary_lines

# Past its deadline a run ends by itself; this is for leaving, and for one that does not.
LEAVE_SECONDS = 60.0
# What two runs may differ in and still count as the same.
_OF_ONE_RUN = ("seed", "keep")


def run_batch(options: Options, seeds: Sequence[int], at_once: int, results: Path | None, *, as_json: bool) -> int:
    """Run the seeds; returns 0 only when each run is at 0 lost, 0 paid twice, 0 wrong, and 130 when interrupted.

    Args:
        options: of every run, but for its seed.
        at_once: how many runs at the same time; each uses about one core.
        results: a file of JSON lines, added to as runs end. Seeds that it has, of the same options and the same
            commit, are not run again.
    """
    batch = _Batch(options, at_once, results)
    told = [entry for seed in seeds if (entry := batch.known.get(seed)) is not None]
    waiting = [seed for seed in seeds if seed not in batch.known]
    if told and not as_json:
        print(f"{len(told)} of {len(seeds)} runs are in {results} already")
    interrupted = False
    with _stopped_by_signals():
        try:
            for entry in batch.go(waiting):
                told.append(entry)
                print(json.dumps(entry) if as_json else one_line(entry), flush=True)
        except KeyboardInterrupt:
            interrupted = True
    made = summary(told)
    print(json.dumps({"summary": made}) if as_json else "\n".join(summary_lines(made)), flush=True)
    if interrupted:
        return 130
    return 0 if made["good"] and made["runs"] == len(seeds) else 1


class _Batch:
    def __init__(self, options: Options, at_once: int, results: Path | None) -> None:
        self._options = options
        self._at_once = at_once
        self._results = results
        self._commit = _commit()
        self._alike = _alike(options.as_json())
        self.known = self._read() if results is not None else {}
        self._lock = threading.Lock()
        self._over = False
        self._running: set[subprocess.Popen[str]] = set()

    def go(self, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Each result as it comes. Left early, it ends what is running, and waits for that."""
        with ThreadPoolExecutor(self._at_once) as pool:
            try:
                for future in as_completed([pool.submit(self._run, seed) for seed in seeds]):
                    if (entry := future.result()) is not None:
                        self._write(entry)
                        yield entry
            finally:
                self._stop()

    def _run(self, seed: int) -> dict[str, Any] | None:
        """One run in its own process, and in its own session: a Ctrl-C reaches it through us. None when stopped."""
        keep = self._options.keep and self._options.keep / f"seed-{seed}"
        options = replace(self._options, seed=seed, keep=keep)
        command = [sys.executable, "-m", "ops.chaos", "--json", *options.to_arguments()]
        with tempfile.TemporaryFile("w+") as errors:
            with self._lock:
                if self._over:
                    return None
                run = subprocess.Popen(  # noqa: S603  (our own)
                    command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
                )
                self._running.add(run)
            out, problem = self._outcome(run)
            with self._lock:
                self._running.discard(run)
                if self._over:
                    return None
            errors.seek(0)
            return self._entry(seed, out, problem or errors.read().strip()[-2000:])

    def _outcome(self, run: subprocess.Popen[str]) -> tuple[str, str]:
        try:
            return run.communicate(timeout=self._options.deadline_seconds + LEAVE_SECONDS)[0], ""
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                return run.communicate(timeout=LEAVE_SECONDS)[0], "it did not end in time"
            run.kill()
            return run.communicate()[0], "it did not end in time, and would not leave"

    def _entry(self, seed: int, out: str, problem: str) -> dict[str, Any]:
        try:
            report: dict[str, Any] = json.loads(out)
            problem = ""
        except ValueError:
            report, problem = {"options": replace(self._options, seed=seed).as_json()}, problem or "no report"
        return {"seed": seed, "commit": self._commit, "problem": problem} | report

    def _write(self, entry: Mapping[str, Any]) -> None:
        if self._results is not None:
            with self._results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")

    def _read(self) -> dict[int, dict[str, Any]]:
        """The runs that need no repeating. Those of a changed work tree tell nothing of the next."""
        found: dict[int, dict[str, Any]] = {}
        if self._results is None or not self._results.exists() or self._commit.endswith("-dirty"):
            return found
        for line in self._results.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError, KeyError):  # torn
                entry = json.loads(line)
                if entry["commit"] == self._commit and _alike(entry["options"]) == self._alike and not entry["problem"]:
                    found[entry["seed"]] = entry
        return found

    def _stop(self) -> None:
        """Those that run clean up after themselves, each in its own time."""
        with self._lock:
            self._over = True
            for run in self._running:
                run.send_signal(signal.SIGINT)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGTERM stops a batch as Ctrl-C does."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _alike(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in _OF_ONE_RUN}


def _commit() -> str:
    """The commit that is tested, with `-dirty` where the work tree differs from it; "" outside of a repository."""
    git = shutil.which("git")
    if git is None:
        return ""
    command = [git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    here = Path(__file__).parent
    told = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)  # noqa: S603  (our own)
    return told.stdout.strip()

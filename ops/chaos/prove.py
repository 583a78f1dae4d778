"""The proof of the harness: it must catch every deliberately broken variant."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from ops.chaos.judge import Verdict
from ops.chaos.options import Options
from ops.chaos.run import run
from ops.chaos.variants import VARIANTS


@dataclass(frozen=True)
class Proof:
    """How one variant fared. `evidence` is the first line of what gave it away.

    `sound` is whether the unbroken product passed the run that caught the variant; None when that was not asked.
    """

    variant: str
    invariant: str
    caught: bool
    sound: bool | None
    runs: int
    seconds: float
    evidence: str = ""

    @property
    def holds(self) -> bool:
        return self.caught and self.sound is not False


def prove(names: Sequence[str], *, as_json: bool, control: bool) -> int:
    """Run the variants, one after the other; returns 0 only when each of them is caught.

    Args:
        control: let the unbroken product run each catching case too; it must pass.
    """
    proofs = []
    for name in names:
        proofs.append(proof := examine(name, control=control))
        if not as_json:
            _show(proof)
    if as_json:
        print(json.dumps([asdict(proof) for proof in proofs]))
    return 0 if all(proof.holds for proof in proofs) else 1


def examine(name: str, *, control: bool) -> Proof:
    """Try the cases of a variant until one catches it."""
    variant, seconds = VARIANTS[name], 0.0
    for number, case in enumerate(variant.cases, 1):
        report = run(replace(case, broken=name))
        seconds += report.seconds
        if not report.verdict.good:
            if report.folder is not None:
                shutil.rmtree(report.folder, ignore_errors=True)  # it is wrong on purpose
            sound = _passes(case) if control else None
            return Proof(name, variant.invariant, True, sound, number, seconds, _evidence(report.verdict))
    return Proof(name, variant.invariant, False, None, len(variant.cases), seconds)


def _passes(case: Options) -> bool:
    return run(case).verdict.good


def _evidence(verdict: Verdict) -> str:
    kinds = {"lost": verdict.lost, "double_paid": verdict.double_paid, "wrong": verdict.wrong}
    counts = ", ".join(f"{kind} {len(lines)}" for kind, lines in kinds.items() if lines)
    return f"{counts}; {next(lines[0] for lines in kinds.values() if lines)}"


def _show(proof: Proof) -> None:
    word = "caught" if proof.caught else "NOT CAUGHT"
    doubt = "; but the unbroken product fails the same run" if proof.sound is False else ""
    print(f"{word:10} {proof.variant} ({proof.seconds:.0f} s{doubt}): {proof.evidence}")
    print(f"{'':10} breaks {proof.invariant}", flush=True)

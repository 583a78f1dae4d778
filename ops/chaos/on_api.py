"""Faults of the API: what the sandbox does wrong on demand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto

from ops.chaos.scene import Action, Scene
from ops.chaos.schedule import Fault
from ops.sandbox.faults import DEFAULTS


class Drawn(Enum):
    """Stands for what the fault has drawn."""

    SHARE = auto()
    WAY = auto()


SHARE, WAY = Drawn


def _misbehaving(**faults: object) -> Action:
    @contextmanager
    def misbehaving(scene: Scene, fault: Fault) -> Iterator[None]:
        drawn = {SHARE: fault.details.get("share", 1.0), WAY: fault.details.get("way", "")}
        asked = {name: drawn[value] if isinstance(value, Drawn) else value for name, value in faults.items()}
        scene.stack.control("faults", asked)
        try:
            yield
        finally:
            _end(scene, {name: DEFAULTS[name] for name in faults})

    return misbehaving


def _end(scene: Scene, wells: dict[str, object]) -> None:
    for _ in range(3):
        if scene.stack.control("faults", wells) is not None:
            return


ACTIONS: dict[str, Action] = {
    "callbacks-dropped": _misbehaving(drop_callbacks=SHARE),
    "callbacks-repeated": _misbehaving(repeat_callbacks=4),
    "callbacks-reordered": _misbehaving(reorder_callbacks=True, repeat_callbacks=1),
    "callbacks-late": _misbehaving(delay_callbacks_seconds=1.5),
    "callbacks-early": _misbehaving(callback_before_answer=True),
    "links-expired": _misbehaving(expire_links="once"),
    "5xx-before": _misbehaving(fail_5xx=SHARE),
    "5xx-after": _misbehaving(fail_5xx_after=SHARE),
    "answers-lost": _misbehaving(lose_answer=SHARE),
    "gateway-loses": _misbehaving(lose_in_gateway=SHARE),
    "wrong-key": _misbehaving(refuse_key=True),
    "rate-limit": _misbehaving(rate_limit=True),
    "no-room": _misbehaving(queue_full=True),
    "no-account": _misbehaving(no_account=True),
    "quota": _misbehaving(quota=True),
    "html-answers": _misbehaving(html_answers=True),
    "internal-error": _misbehaving(internal_error=True),
    "slow-answers": _misbehaving(hang_seconds=1.0),
    "questions-fail": _misbehaving(fail_queries=SHARE),
    "tasks-fail": _misbehaving(fail_tasks=SHARE),
    "failures-flip": _misbehaving(flip_failures=True),
    "pictures-spoiled": _misbehaving(spoil_pictures=WAY),
    "pictures-spoiled-for-good": _misbehaving(spoil_for_good=WAY),
    "pictures-shared": _misbehaving(share_pictures=True),
    "duplicate-ids": _misbehaving(duplicate_ids=True),
}

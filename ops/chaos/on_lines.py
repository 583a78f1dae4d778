"""Faults of the lines between the parts, played by the relays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ops.chaos.scene import Action, Scene
from ops.chaos.schedule import Fault
from ops.chaos.wire import Ill, Trouble

SUBMISSION = b"POST /mj/submit"
CALLBACK = b"POST /hooks/"
SCRIPT = b"EVALSHA"


def _troubled(link: str, ill: Ill, only: bytes = b"", share: float | None = None) -> Action:
    """The trouble of a link; a fault that names another link, share or count has its way."""

    @contextmanager
    def troubled(scene: Scene, fault: Fault) -> Iterator[None]:
        details = fault.details
        relay = scene.stack.relays[details.get("link", link) if link == "redis" else link]
        trouble = Trouble(
            ill,
            share=share if share is not None else details.get("share", 0.5),
            count=details.get("count", 1),
            seconds=details.get("seconds", 0.0),
            only=only,
        )
        relay.strike(trouble)
        try:
            yield
        finally:
            relay.relieve(trouble)

    return troubled


@contextmanager
def redis_cut(scene: Scene, fault: Fault) -> Iterator[None]:
    scene.stack.relays[fault.details["link"]].cut()
    yield


ACTIONS: dict[str, Action] = {
    "redis-cut": redis_cut,
    "redis-lost-replies": _troubled("redis", Ill.LOSE_REPLY, SCRIPT),
    "redis-black-hole": _troubled("redis", Ill.BLACK_HOLE),
    "redis-half-open": _troubled("redis", Ill.HALF_OPEN),
    "redis-delay": _troubled("redis", Ill.DELAY),
    "redis-refuse": _troubled("redis", Ill.REFUSE),
    "api-cut-upload": _troubled("api", Ill.CUT_REQUEST, SUBMISSION),
    "api-cut-last-byte": _troubled("api", Ill.CUT_LAST_BYTE, SUBMISSION),
    "api-cut-after-last-byte": _troubled("api", Ill.CUT_REQUEST, SUBMISSION, share=1.0),
    "api-cut-answer": _troubled("api", Ill.LOSE_REPLY, SUBMISSION),
    "api-cut-reply": _troubled("api", Ill.CUT_REPLY),
    "api-black-hole": _troubled("api", Ill.BLACK_HOLE),
    "api-half-open": _troubled("api", Ill.HALF_OPEN),
    "api-delay": _troubled("api", Ill.DELAY),
    "api-refuse": _troubled("api", Ill.REFUSE),
    "hooks-cut": _troubled("hooks", Ill.CUT_REQUEST, CALLBACK),
    "hooks-black-hole": _troubled("hooks", Ill.BLACK_HOLE),
    "hooks-lost-replies": _troubled("hooks", Ill.LOSE_REPLY, CALLBACK),
}

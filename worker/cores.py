"""Cores: asks the API, now and then, how many tasks its accounts can work on. Best effort: most servers do not tell."""

from __future__ import annotations

import logging

from worker.context import Context

ASK_SECONDS = 60.0
# Where it is not told: the key has no right to it, or the server has no such call.
ASK_LATER_SECONDS = 3600.0
VALID_SECONDS = 300.0

_log = logging.getLogger(__name__)


def ask_for_cores(context: Context) -> None:
    """Note what the account data say, where they say something and nobody asked of late."""
    settings, throttle = context.settings, context.store.throttle
    if not settings.ask_accounts or settings.slots is not None or not throttle.may_ask_for_cores(ASK_SECONDS):
        return
    cores = context.proxy.count_cores()
    if isinstance(cores, int):
        throttle.note_cores(cores, VALID_SECONDS)
        return
    throttle.ask_for_cores_later(ASK_LATER_SECONDS)
    _log.info("the API does not tell how many tasks it can work on at once: %s", cores)

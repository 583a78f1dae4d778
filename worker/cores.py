"""Cores: asks each API, now and then, how many tasks its accounts can work on. Best effort: most do not tell."""

from __future__ import annotations

import logging

from jobs.upstreams import Upstream
from worker.context import Context

ASK_SECONDS = 60.0
# Where it is not told: the key has no right to it, or the server has no such call.
ASK_LATER_SECONDS = 3600.0
VALID_SECONDS = 300.0

_log = logging.getLogger(__name__)


def ask_for_cores(context: Context, upstream: Upstream) -> None:
    """Note what the account data say, where they say something and nobody asked of late."""
    throttle, name = context.store.throttle, upstream.name
    if not context.settings.ask_accounts or upstream.slots is not None:
        return
    if not throttle.may_ask_for_cores(ASK_SECONDS, name):
        return
    cores = context.proxies.of(name).count_cores()
    if isinstance(cores, int):
        throttle.note_cores(cores, VALID_SECONDS, name)
        return
    throttle.ask_for_cores_later(ASK_LATER_SECONDS, name)
    _log.info("upstream %s does not tell how many tasks it can work on at once: %s", name, cores)

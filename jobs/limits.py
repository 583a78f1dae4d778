"""Limits: how often one sender may ask. Token buckets in memory, in a table that cannot grow without bound."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

MAX_BUCKETS = 10_000
# Whoever has one IPv6 address has a whole network of them, so they are counted as one.
IPV6_NETWORK_BITS = 64


class Buckets:
    """A bucket of tokens for each name; every permission takes one, and time fills it up again.

    Args:
        per_second: how many tokens each bucket gains.
        burst: how many it holds, and how many it starts with.
        most: how many buckets are kept. The one that was not asked for the longest goes first; it comes back full.
    """

    def __init__(self, per_second: float, burst: float, most: int = MAX_BUCKETS) -> None:
        self._per_second = per_second
        self._burst = burst
        self._most = most
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._levels)

    def take(self, name: str, now: float) -> bool:
        """Whether there is a token left; takes it.

        Args:
            name: whose bucket.
            now: seconds, on a clock that never goes back.
        """
        level, since = self._levels.pop(name, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._per_second)
        allowed = level >= 1
        self._levels[name] = (level - 1 if allowed else level, now)
        if len(self._levels) > self._most:
            self._levels.popitem(last=False)
        return allowed


def sender(address: str) -> str:
    """Under which name an address is counted; anything may be given, since a proxy may have made it up."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), IPV6_NETWORK_BITS), strict=False))

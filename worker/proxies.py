"""Proxies: the client of each API that the settings name."""

from __future__ import annotations

from typing import ClassVar

from jobs.errors import BlendqError
from jobs.settings import Settings
from worker.proxy.client import ProxyClient


class UpstreamMissing(BlendqError):
    """A job's upstream is not in the settings of this process; nothing can be sent there, or asked."""

    code: ClassVar[str] = "upstream_missing"
    retryable: ClassVar[bool] = True


class Proxies:
    """
    Args:
        settings: as they are; an upstream that they do not name has no client.

    Raises:
        SettingsError: an address or a key cannot be sent.
    """

    def __init__(self, settings: Settings) -> None:
        self._clients = {one.name: ProxyClient.of(one, settings) for one in settings.apis}

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def find(self, upstream: str) -> ProxyClient | None:
        return self._clients.get(upstream)

    def of(self, upstream: str) -> ProxyClient:
        """
        Raises:
            UpstreamMissing: it is not in the settings.
        """
        if (client := self.find(upstream)) is None:
            raise UpstreamMissing(f"upstream {upstream} is not in the settings; name it again, with its url and key")
        return client

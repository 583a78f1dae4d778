"""Where blendq may connect to when somebody else names the place: the links of finished pictures, webhooks.

Such a link could name a machine that only this one can reach: a neighbour in the private network, a cloud's metadata
service, this machine itself. So a link is taken apart here, once; its name is looked up here, once; and the connection
goes to the very address that was checked. No second parser and no second lookup can come to another answer.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self
from urllib.parse import quote, urlsplit

from jobs.errors import BlendqError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DEFAULT_PORTS = {"http": 80, "https": 443}
# IANA's registry of special IPv4 addresses, without those that are part of the public internet; and multicast.
_SPECIAL_V4 = tuple(
    IPv4Network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
# All public IPv6 is in here; the rest of it (loopback, link-local, unique-local, multicast, v4-compatible …) is not.
_GLOBAL_V6 = IPv6Network("2000::/3")
# But for protocols' own addresses (Teredo among them), 6to4, and documentation.
_SPECIAL_V6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
# A network without IPv4 reaches the whole IPv4 internet through these (RFC 6052), so they count as what they carry.
_NAT64 = IPv6Network("64:ff9b::/96")

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# Systems read a name that ends so as an IPv4 address: 127.1, 0x7f000001, 0177.0.0.1, 2130706433.
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Brackets are around an IPv6 address, and around all of it: some Pythons read past what stands beside them.
_AUTHORITY = re.compile(r"[^\[\]]*|\[[^\[\]]*\](?::[0-9]*)?")
_MAX_HOST_CHARACTERS = 253
# What may stand in a path or query; "%", since what is quoted already stays as it is.
_SAFE_IN_TARGET = "%/?:@!$&'()*+,;=-._~[]"


class AddressRefused(BlendqError):
    """A link that is not followed. Its text shows the host, never the path or query: those may be secret."""


@dataclass(frozen=True)
class Target:
    """A link, taken apart. `host` is ASCII in small letters, or an address; `path` has the query with it."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """As the Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_target(url: str) -> Target:
    """Take an http or https link apart.

    Raises:
        AddressRefused: it is another kind of link, or written so that two programs could read two hosts in it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise AddressRefused("the link is no web address") from error
    if parts.scheme not in DEFAULT_PORTS:
        raise AddressRefused("the link is neither http nor https")
    if port == 0 or not url.isprintable():
        raise AddressRefused("the link is no web address")
    if "@" in parts.netloc:
        raise AddressRefused("the link has a user name before its host")
    if not _AUTHORITY.fullmatch(parts.netloc):
        raise AddressRefused("the link's host is no IPv6 address")
    path = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_SAFE_IN_TARGET)
    return Target(parts.scheme, _host(parts.hostname or ""), port or DEFAULT_PORTS[parts.scheme], path)


def _host(host: str) -> str:
    """The one spelling of a host.

    Raises:
        AddressRefused: it has none.
    """
    if ":" in host:
        return _v6(host)
    try:
        name = host.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError as error:
        raise AddressRefused("the link's host is no host name") from error
    labels = name.split(".")
    if len(name) > _MAX_HOST_CHARACTERS or not all(map(_LABEL.fullmatch, labels)):
        raise AddressRefused("the link's host is no host name")
    if _NUMERIC.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(name))
        except ValueError as error:
            raise AddressRefused(f"the link's host {name} is an address in an unusual spelling") from error
    return name


def _v6(host: str) -> str:
    try:
        address = IPv6Address(host)
    except ValueError as error:
        raise AddressRefused("the link's host is no IPv6 address") from error
    if address.scope_id is not None:
        raise AddressRefused("the link's host names a network interface")
    return str(address)


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks, separated by commas: `127.0.0.0/8, fd00::/8`. A single address is a network of one.

    Raises:
        ValueError: names the part that is none.
    """
    return tuple(_network(part.strip()) for part in text.split(",") if part.strip())


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a network such as 10.1.0.0/16 or fd00::/8") from error


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, and of nothing that could be closer."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    if (inner := _carried(address)) is not None:
        return is_public(inner)
    return address in _GLOBAL_V6 and not any(address in network for network in _SPECIAL_V6)


def _carried(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that this one stands for. Forms out of use (6to4, Teredo, v4-compatible) are refused whole."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped


@dataclass(frozen=True)
class AddressRules:
    """What may be connected to: the public internet, and what the settings add to it.

    Args:
        networks: allowed whatever they are.
        trusted: hosts and ports that are allowed wherever they are.
    """

    networks: tuple[Network, ...] = ()
    trusted: frozenset[tuple[str, int]] = frozenset()

    @classmethod
    def of(cls, allowed_networks: str, api_urls: Iterable[str] = ()) -> Self:
        """The rules that the settings describe.

        Each API's own host and port are allowed, and no other port there: servers hand out links to themselves, as
        `http://their-address:8080/…`, and with the key and the pictures the API is trusted with more anyway.
        """
        trusted = set()
        for url in api_urls:
            with suppress(AddressRefused):  # spelled so that no link to it would be followed either
                api = parse_target(url)
                trusted.add((api.host, api.port))
        return cls(parse_networks(allowed_networks), frozenset(trusted))

    def allows(self, address: Address) -> bool:
        """Whether an address may be connected to. One that stands for an IPv4 address counts as that."""
        inner = _carried(address) if isinstance(address, IPv6Address) else None
        listed = (one in network for one in (address, inner) if one for network in self.networks)
        return is_public(address) or any(listed)

    def resolve(self, host: str, port: int) -> list[str]:
        """The addresses behind a host of `parse_target`, each checked: connect to these, and never to the name.

        One lookup, as long as the system's resolver takes for it. When one of several addresses is not allowed, none
        is: no honest name has public and private ones.

        Raises:
            AddressRefused: the host leads to where it must not.
            OSError: there is no such host.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if (host, port) not in self.trusted:
            self._check(host, map(ip_address, addresses))
        return addresses

    def _check(self, host: str, addresses: Iterable[Address]) -> None:
        for address in addresses:
            if not self.allows(address):
                where = str(address) if host == str(address) else f"{host} ({address})"
                raise AddressRefused(
                    f"the link leads to {where}, which is not on the public internet; "
                    "if it is a machine of yours, add it to BLENDQ_ALLOWED_NETWORKS"
                )

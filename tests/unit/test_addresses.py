"""Where links may lead. Each test of refusal is one way in which others were led astray; no name is ever looked up."""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.errors import SettingsError
from jobs.net.addresses import AddressRefused, AddressRules, Target, is_public, parse_networks, parse_target
from jobs.settings import Settings

REFUSED_V4 = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.8.9.10"),
    *("169.254.169.254", "169.254.0.1", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1"),
    *("192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250"),
    *("240.0.0.1", "255.255.255.255"),
]
PUBLIC_V4 = [
    *("1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "128.0.0.1", "169.253.255.255"),
    *(
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
    ),
]
REFUSED_V6 = [
    *("::", "::1", "::2", "::7f00:1", "::127.0.0.1", "100::1", "fe80::1", "febf::1", "fec0::1", "fc00::1", "fd12::1"),
    *(
        "ff02::1",
        "2001:db8::1",
        "2001::1",
        "2001:10::1",
        "2001:1ff:ffff::",
        "3fff::1",
        "5f00::1",
        "4000::",
        "64:ff9b:1::1",
    ),
    # IPv4 inside: mapped, NAT64, 6to4, Teredo (there it is inverted), translated.
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe"),
    *("2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:101:101::", "2001:0:101:101::80ff:fffe", "::ffff:0:127.0.0.1"),
]
PUBLIC_V6 = ["2606:4700::1111", "2a00:1450::1", "2001:200::1", "64:ff9b::1.1.1.1", "::ffff:1.1.1.1"]


@pytest.mark.parametrize("address", REFUSED_V4 + REFUSED_V6)
def test_special_addresses_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC_V4 + PUBLIC_V6)
def test_their_neighbours_are(address: str) -> None:
    assert is_public(ip_address(address))


@given(st.ip_addresses())
@example(IPv4Address("100.64.0.1"))
def test_never_more_than_the_standard_library_allows(address: IPv4Address | IPv6Address) -> None:
    if is_public(address) and not (isinstance(address, IPv6Address) and address.ipv4_mapped):
        assert address.is_global


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:{}", "64:ff9b::{}"]))
@example(IPv4Address("127.0.0.1"), "64:ff9b::{}")
def test_an_address_inside_another_counts(inner: IPv4Address, form: str) -> None:
    outer = IPv6Address(form.format(inner))
    assert is_public(outer) == is_public(inner)
    rules = AddressRules((IPv4Network(inner),))
    assert rules.allows(outer)


# --- links -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://h.example", Target("http", "h.example", 80, "/")),
        ("HTTPS://H.Example.:8443/A?b=c&d=%20#e", Target("https", "h.example", 8443, "/A?b=c&d=%20")),
        ("http://h.example?x", Target("http", "h.example", 80, "/?x")),
        ("http://h.example/a b/ü", Target("http", "h.example", 80, "/a%20b/%C3%BC")),
        ("http://bücher.example/", Target("http", "xn--bcher-kva.example", 80, "/")),
        ("http://sandbox:8792/x", Target("http", "sandbox", 8792, "/x")),
        ("http://1.2.3.4.:81/", Target("http", "1.2.3.4", 81, "/")),
        ("http://[2606:4700:0::1111]:81/", Target("http", "2606:4700::1111", 81, "/")),
        ("http://h.example#@127.0.0.1/", Target("http", "h.example", 80, "/")),
    ],
)
def test_a_link_taken_apart(url: str, target: Target) -> None:
    assert parse_target(url) == target


def test_the_host_header() -> None:
    assert parse_target("http://h:80/").authority == "h"
    assert parse_target("https://h:80/").authority == "h:80"
    assert parse_target("http://[::1]:81/").authority == "[::1]:81"


@pytest.mark.parametrize(
    "url",
    [
        *("", "x", "//h/x", "h:80/x", "http:h/x", "http:///x", "http://", "http://.", "http://a..b/", "http://[::1"),
        *("file:///etc/passwd", "ftp://h/x", "gopher://h/x", "data:image/png;base64,AA", "javascript:alert(1)"),
        *("http://h:0/", "http://h:65536/", "http://h:-1/", "http://h:x/", "http://h:１２/", "http://h:8_0/"),
        *("http://user@h/", "http://good.example@127.0.0.1/", "http://good.example:80@127.0.0.1:90/", "http://@h/"),
        *("http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://0x7f.0.0.1/", "http://0177.0.0.1/"),
        *("http://127.0.0.01/", "http://1.2.3.4.5/", "http://256.1.1.1/", "http://127.0.1/", "http://0/", "http://0x/"),
        *("http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://[::1%1]/", "http://[1.2.3.4]:x/", "http://[]/"),
        *(
            "http://[2606:4700::1]h/",
            "http://h[2606:4700::1]/",
            "http://[2606:4700::1]h:80/",
            "http://[2606:4700::1]80/",
        ),
        *("http://127.0.0.1\\.good.example/", "http://good.example\\@127.0.0.1/", "http://a%2eb/", "http://a_-/"),
        *(
            "http://h\n.example/",
            "http://h\t/",
            "http://h/\r\nHost: other",
            "http://h /",
            "http://h\0/",
            "http://h/\u202e",
        ),
        *("http://xn--/", "http://" + "a" * 64 + "/", "http://" + "a." * 127 + "aa/", "http://a,b/", "http://a;b/"),
    ],
)
def test_a_link_that_is_not_followed(url: str) -> None:
    with pytest.raises(AddressRefused):
        parse_target(url)


@pytest.mark.parametrize(
    "host", ["LOCALHOST.", "１２７.0.0.1", "①②⑦.0.0.1", "127。0。0。1", "127.0.0.1.", "[::ffff:7f00:1]"]
)
def test_an_odd_spelling_of_this_machine_is_this_machine(host: str) -> None:
    target = parse_target(f"http://{host}/")
    with pytest.raises(AddressRefused, match="not on the public internet"):
        AddressRules().resolve(target.host, target.port)


def test_a_refusal_never_shows_the_query() -> None:
    for url in ("http://u:CANARY@h/", "http://127.1/?CANARY", "ftp://h/?CANARY", "http://h:CANARY/"):
        with pytest.raises(AddressRefused) as caught:
            parse_target(url)
        assert "CANARY" not in str(caught.value)


@given(st.text(max_size=60), st.sampled_from(["", "http://", "https://[", "http://h:"]))
def test_any_text_is_a_target_or_refused_by_one_kind_of_error(text: str, start: str) -> None:
    try:
        target = parse_target(start + text)
    except AddressRefused:
        return
    assert target.host.isascii()
    assert parse_target(f"{target.scheme}://{target.authority}{target.path}") == target


# --- names -------------------------------------------------------------------------------------------------------

Names = Callable[..., list[str]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Makes every name lead to the given addresses; returns the list of what was looked up."""

    def lead_to(*addresses: str) -> list[str]:
        asked: list[str] = []

        def lookup(host: str, port: int, **_: object) -> list[object]:
            asked.append(host)
            return [(0, 0, 0, "", (address, port)) for address in addresses for _ in range(2)]

        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        return asked

    return lead_to


def test_a_public_name_is_looked_up_once(names: Names) -> None:
    asked = names("1.1.1.1", "2606:4700::1111")
    assert AddressRules().resolve("h.example", 80) == ["1.1.1.1", "2606:4700::1111"]
    assert asked == ["h.example"]


@pytest.mark.parametrize("address", [*REFUSED_V4, *REFUSED_V6, "fe80::1%eth0"])
def test_a_name_that_leads_inside_is_refused(names: Names, address: str) -> None:
    names("1.1.1.1", address)
    with pytest.raises(AddressRefused, match=r"not on the public internet.*BLENDQ_ALLOWED_NETWORKS"):
        AddressRules().resolve("h.example", 80)


def test_networks_that_are_allowed(names: Names) -> None:
    rules = AddressRules.of("10.1.0.0/16,fd00::/8")
    names("10.1.2.3", "fd00::1", "::ffff:10.1.2.3", "1.1.1.1")
    assert len(rules.resolve("h.example", 80)) == 4
    names("10.2.0.1")
    with pytest.raises(AddressRefused):
        rules.resolve("h.example", 80)


def test_the_apis_own_host_and_port_are_allowed_and_no_other(names: Names) -> None:
    names("10.0.0.5")
    rules = AddressRules.of("", ["http://Proxy.internal.:8080/mj-fast"])
    assert rules.resolve("proxy.internal", 8080) == ["10.0.0.5"]
    for host, port in (
        ("proxy.internal", 6379),
        ("proxy.internal", 80),
        ("10.0.0.5", 8080),
        ("x.proxy.internal", 8080),
    ):
        with pytest.raises(AddressRefused):
            rules.resolve(host, port)


def test_without_an_api_or_with_an_odd_one_nothing_is_added() -> None:
    for urls in ([], ["http://127.1:8080"]):
        assert AddressRules.of("", urls) == AddressRules()


# --- the setting -------------------------------------------------------------------------------------------------


def test_networks_as_text() -> None:
    assert [str(one) for one in parse_networks(" 10.1.0.0/16, ,fd00::/8,127.0.0.1 ")] == [
        *("10.1.0.0/16", "fd00::/8", "127.0.0.1/32")
    ]
    assert Settings.load({"BLENDQ_ALLOWED_NETWORKS": " 10.1.0.0/16 ,::1"}).allowed_networks == "10.1.0.0/16,::1/128"
    assert Settings().allowed_networks == ""


@pytest.mark.parametrize("text", ["10.1.0.0/33", "10.1.2.3/16", "localhost", "10.*", "10.0.0.0/8;fd00::/8"])
def test_a_wrong_network_is_refused_at_start(text: str) -> None:
    with pytest.raises(SettingsError, match=r"allowed_networks: .* is not a network such as"):
        Settings.load({"BLENDQ_ALLOWED_NETWORKS": text})

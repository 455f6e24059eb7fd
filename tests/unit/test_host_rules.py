"""Which hosts and addresses the rules let through."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.host_rules import (
    as_address,
    ascii_host,
    is_public,
    may_connect,
    parse_host_rule,
    parse_network,
)

ADMITTED = [
    ("example.org", "https", "example.org", 443, True),
    ("example.org", "http", "example.org", 80, True),
    ("example.org", "https", "example.org", 8443, False),
    ("example.org", "https", "www.example.org", 443, False),
    ("example.org", "https", "notexample.org", 443, False),
    ("example.org", "https", "example.org.evil.net", 443, False),
    ("*.example.org", "https", "www.example.org", 443, True),
    ("*.example.org", "https", "a.b.example.org", 443, True),
    ("*.example.org", "https", "example.org", 443, False),
    ("*.example.org", "https", "evilexample.org", 443, False),
    ("example.org:8443", "https", "example.org", 8443, True),
    ("example.org:8443", "https", "example.org", 443, False),
    ("example.org:*", "http", "example.org", 12345, True),
    ("*", "https", "anything.test", 443, True),
    ("*", "https", "anything.test", 444, False),
    ("EXAMPLE.org.", "https", "example.org", 443, True),
    ("bücher.example", "https", "xn--bcher-kva.example", 443, True),
    ("[::1]:8080", "http", "::1", 8080, True),
    ("[0:0:0:0:0:0:0:1]:8080", "http", "::1", 8080, True),
]


@pytest.mark.parametrize(("rule", "scheme", "host", "port", "is_admitted"), ADMITTED)
def test_a_rule_lets_through_what_it_says_and_nothing_else(
    rule: str, scheme: str, host: str, port: int, is_admitted: bool
) -> None:
    assert parse_host_rule(rule).admits(scheme=scheme, host=host, port=port) is is_admitted


@pytest.mark.parametrize(
    "text",
    ["", "https://example.org", "example.org/path", "a@b", "exa mple.org", "*.10.0.0.1",
     "example.org:0", "example.org:99999", "a..b", "*.*.example.org", "ex*mple.org", "-a.org"],
)  # fmt: skip
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no|has no|is an address"):
        parse_host_rule(text)


PRIVATE = [
    "127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "0.0.0.1", "255.255.255.255", "224.0.0.1", "192.0.2.1", "198.18.0.1",
    "::1", "::", "fe80::1", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1",
    "2002:7f00:1::", "2002:a00:1::1", "2001:0:7f00:1::", "::ffff:0:127.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("text", PRIVATE)
def test_what_is_not_of_the_open_internet_is_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808"]
)
def test_an_address_of_the_open_internet_is_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@given(st.ip_addresses(v=4))
def test_an_address_inside_another_is_as_public_as_by_itself(
    inner: ipaddress.IPv4Address,
) -> None:
    for prefix in ("::ffff:", "64:ff9b::"):
        assert is_public(ipaddress.IPv6Address(f"{prefix}{inner}")) == is_public(inner)


def test_only_what_is_listed_may_be_private() -> None:
    listed = [parse_network("10.1.0.0/16"), parse_network("::1")]
    assert may_connect(ipaddress.ip_address("10.1.2.3"), listed)
    assert may_connect(ipaddress.ip_address("::ffff:10.1.2.3"), listed)
    assert may_connect(ipaddress.ip_address("::1"), listed)
    assert not may_connect(ipaddress.ip_address("10.2.0.1"), listed)
    assert not may_connect(ipaddress.ip_address("127.0.0.1"), listed)


def test_a_name_is_none_of_the_spellings_of_an_address() -> None:
    assert as_address("example.org") is None
    assert as_address("[::1]") == ipaddress.ip_address("::1")
    assert ascii_host("Example.ORG.") == "example.org"

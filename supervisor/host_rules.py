"""Which hosts a worker may reach, by name and by address; pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import TypeAlias

import msgspec

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_PORTS = {"http": 80, "https": 443}

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_PORT_MAX = 65_535
_HOST_MAX = 253
#: Addresses of IPv6 that stand for one of IPv4 in their last 32 bits: mapped (RFC 4291),
#: compatible (the same), translated (RFC 2765), and through a NAT64 (RFC 6052 and 8215).
_WITH_IPV4_LAST = tuple(
    ipaddress.IPv6Network(net)
    for net in ("::ffff:0:0/96", "::/96", "::ffff:0:0:0/96", "64:ff9b::/96")
)
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")


class HostRule(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of an allowlist; `port` is None for the scheme's own, 0 for any.

    With `is_subdomains` it means every name below `host`, and not `host` itself. An empty host
    with it is every host.
    """

    host: str
    is_subdomains: bool = False
    port: int | None = None

    def admits(self, *, scheme: str, host: str, port: int) -> bool:
        """Return whether the rule lets a request through; `host` in its ASCII form."""
        if self.port is None and port != DEFAULT_PORTS[scheme]:
            return False
        if self.port not in (None, 0, port):
            return False
        if self.is_subdomains:
            return not self.host or host.endswith(f".{self.host}")
        return host == self.host


def parse_host_rule(text: str) -> HostRule:
    """Return the rule that `text` is: `example.org`, `*.example.org`, `*`, each also with `:PORT`.

    Raises:
        ValueError: it is none; its text says why.
    """
    if "/" in text or "@" in text:
        raise ValueError("is no host alone")
    name, port = _split_port(text.strip())
    if name == "*":
        return HostRule(host="", is_subdomains=True, port=port)
    is_subdomains = name.startswith("*.")
    host = ascii_host(name.removeprefix("*."))
    address = as_address(host)
    if is_subdomains and address is not None:
        raise ValueError("is an address, which has no subdomains")
    if address is None and not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise ValueError("is no host's name")
    return HostRule(host=str(address) if address else host, is_subdomains=is_subdomains, port=port)


def _split_port(text: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(\[[^\]]*\]|[^:]*):(\d{1,5}|\*)", text)
    if match is None:
        return text, None
    port = 0 if match[2] == "*" else int(match[2])
    if port > _PORT_MAX or match[2] == "0":
        raise ValueError("has no usable port")
    return match[1], port


def ascii_host(name: str) -> str:
    """Return a host's name as it is looked up: lower case, IDNA, without a final dot.

    Raises:
        ValueError: it has no such form.
    """
    plain = name.lower().strip("[]").removesuffix(".")
    try:
        host = plain if plain.isascii() else plain.encode("idna").decode()
    except UnicodeError as error:
        raise ValueError("is no host's name") from error
    if not host or len(host) > _HOST_MAX:
        raise ValueError("is no host's name")
    return host


def as_address(host: str) -> Address | None:
    """Return the address that `host` is, None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def parse_network(text: str) -> Network:
    """Return the network `10.0.0.0/8`, or that of one address.

    Raises:
        ValueError: it is none.
    """
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError as error:
        raise ValueError("is no address and no network") from error


def is_public(address: Address) -> bool:
    """Return whether an address is one of the open internet, seen through what it stands for."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_public(inner)
        if address in _LOCAL_NAT64 or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.sixtofour is not None:
        return address.sixtofour
    if any(address in network for network in _WITH_IPV4_LAST):
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def may_connect(address: Address, listed: Iterable[Network]) -> bool:
    """Return whether a request may go to `address`: a public one, or one that is `listed`."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    seen = mapped or address
    return is_public(address) or any(
        seen.version == network.version and seen in network for network in listed
    )

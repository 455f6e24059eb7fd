"""What one worker's requests may do: hosts, addresses and bounds."""

from __future__ import annotations

import msgspec

from supervisor.errors import RequestRefused
from supervisor.host_rules import (
    DEFAULT_PORTS,
    HostRule,
    Network,
    as_address,
    ascii_host,
    may_connect,
    parse_network,
)
from supervisor.redaction import REDACTION


class HttpRules(msgspec.Struct, frozen=True, kw_only=True):
    """[worker.NAME.http], parsed. Without a rule no host may be reached. Spans in seconds."""

    worker: str = ""
    user_agent: str = "acp-supervisor"
    allow: tuple[HostRule, ...] = ()
    private: tuple[Network, ...] = ()
    methods: tuple[str, ...] = ("GET", "HEAD", "OPTIONS")
    publish_methods: tuple[str, ...] = ()
    robots: bool = True
    host_every_s: float = 1.0
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0
    total_timeout_s: float = 60.0
    body_max_bytes: int = 10_000_000
    redirects_max: int = 5
    attempts_max: int = 3
    retry_after_max_s: float = 60.0
    requests_max: int = 1_000

    @property
    def listed(self) -> tuple[Network, ...]:
        """The addresses that are not public and may be reached all the same."""
        literal = (rule.host for rule in self.allow if rule.host and as_address(rule.host))
        return (*self.private, *(parse_network(host) for host in literal))

    @property
    def section(self) -> str:
        """Where these rules stand in the config."""
        return f"[worker.{self.worker}.http]"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request goes; `url` is for the record, without the query."""

    scheme: str
    host: str
    port: int
    url: str

    @property
    def origin(self) -> str:
        """The scheme, host and port, as one text."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


_URL_MAX = 300


def target_of(rules: HttpRules, *, scheme: str, host: str, port: int | None, path: str) -> Target:
    """Return where a request goes, if it may go there by its name.

    Raises:
        RequestRefused: the scheme, the host or the address is none that the rules let through.
    """
    whole = f"{scheme}://{host}{'' if port is None else f':{port}'}{path}"
    shown = REDACTION.text(whole)[:_URL_MAX]
    if scheme not in DEFAULT_PORTS:
        raise RequestRefused(
            subject=f"request {shown}",
            reason="scheme",
            what="is neither http nor https",
            fix="give the whole URL, with http:// or https://",
        )
    try:
        name = ascii_host(host)
    except ValueError as error:
        raise RequestRefused(
            subject=f"request {shown}", reason="host", what=f"its host {error}", fix="mend the URL"
        ) from error
    address = as_address(name)
    name = str(address) if address else name
    target = Target(
        scheme=scheme, host=name, port=DEFAULT_PORTS[scheme] if port is None else port, url=shown
    )
    if address is not None and not may_connect(address, rules.listed):
        raise address_refused(rules, target.url, name)
    if not any(rule.admits(scheme=scheme, host=name, port=target.port) for rule in rules.allow):
        is_default = target.port == DEFAULT_PORTS[scheme]
        entry = name if is_default else f"{name}:{target.port}"
        raise RequestRefused(
            subject=f"request {shown}",
            reason="host",
            what=f"{entry} is not on the worker's list",
            fix=f'add it to allow = ["{entry}"] under {rules.section}, if it may be reached',
        )
    return target


def address_refused(rules: HttpRules, url: str, address: str) -> RequestRefused:
    """Return the refusal of an address that is private, loopback, link-local or the like."""
    return RequestRefused(
        subject=f"request {url}",
        reason="address",
        what=f"{address} is not an address of the open internet",
        fix=f'add it to private = ["{address}"] under {rules.section}, if it may be reached',
    )


def check_method(rules: HttpRules, method: str, url: str, *, is_publishing: bool) -> None:
    """Check that the worker may use the method, now.

    Raises:
        RequestRefused: it may not, or only for what has passed its checks.
    """
    if method in rules.methods or (is_publishing and method in rules.publish_methods):
        return
    what, fix = (
        f"{method} is off",
        f'add it to publish_methods = ["{method}"] under {rules.section}',
    )
    if method in rules.publish_methods:
        what = f"{method} is only for what was handed over and has passed its checks"
        fix = "call it in the send= of ctx.publish"
    raise RequestRefused(subject=f"request {url}", reason="method", what=what, fix=fix)

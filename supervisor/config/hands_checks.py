"""What types alone can't say of the tools that the config gives to workers."""

from __future__ import annotations

import re
from collections.abc import Callable

from supervisor.config.sections import WorkerHttpSection
from supervisor.errors import ConfigError
from supervisor.host_rules import parse_host_rule, parse_network

Fail = Callable[[str, object, str, str], ConfigError]

# A product and what else; RFC 9110, section 10.1.5.
_USER_AGENT = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}(/[!-~]{1,64})?( [ -~]{1,200})?")


def check_http(key: str, section: WorkerHttpSection, fail: Fail) -> None:
    """Check [worker.NAME.http].

    Raises:
        ConfigError: with the key's path, its value, and the cure.
    """
    for number, text in enumerate(section.allow):
        try:
            parse_host_rule(text)
        except ValueError as error:
            fix = 'write "example.org", "*.example.org", "example.org:8080" or "*"'
            raise fail(f"{key}.allow[{number}]", text, str(error), fix) from error
    for number, text in enumerate(section.private):
        try:
            parse_network(text)
        except ValueError as error:
            fix = 'write an address or a network, such as "10.0.0.0/8"'
            raise fail(f"{key}.private[{number}]", text, str(error), fix) from error
    if section.user_agent and not _USER_AGENT.fullmatch(section.user_agent):
        fix = (
            'write a product, a version and how to reach you: "my-bot/1.0 (+mailto:me@example.org)"'
        )
        raise fail(f"{key}.user_agent", section.user_agent, "is no user agent", fix)
    if section.private and not section.allow:
        fix = 'add allow = ["HOST"]: without it no host may be reached'
        raise fail(f"{key}.private", section.private, "opens nothing", fix)

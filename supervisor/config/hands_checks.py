"""What types alone can't say of the tools that the config gives to workers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from supervisor.config.explain import did_you_mean
from supervisor.config.sections import WorkerHttpSection, WorkerOutputSection
from supervisor.errors import ConfigError
from supervisor.host_rules import parse_host_rule, parse_network
from supervisor.redaction import SECRET_CHARS_MIN

Fail = Callable[[str, object, str, str], ConfigError]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_METHOD = re.compile(r"[A-Z]{1,20}")
_OWN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
#: The same as governance/validators.py has; behind each the key without which it asks nothing.
_BUILT_IN = {
    "duplicates": "",
    "count": "count_expected",
    "empty": "",
    "age": "age_max_s",
    "size": "",
    "schema": "schema",
}
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
    for name in ("methods", "publish_methods"):
        for number, method in enumerate(getattr(section, name)):
            if not _METHOD.fullmatch(method):
                fix = 'write methods in capitals, such as "POST"'
                raise fail(f"{key}.{name}[{number}]", method, "is no method", fix)
    if section.private and not section.allow:
        fix = 'add allow = ["HOST"]: without it no host may be reached'
        raise fail(f"{key}.private", section.private, "opens nothing", fix)


def check_secrets(
    key: str, names: tuple[str, ...], environment: Mapping[str, str], fail: Fail
) -> None:
    """Check the secrets that a worker is given.

    Raises:
        ConfigError: with the key's path, its value, and the cure; the secret itself is not shown.
    """
    for number, name in enumerate(names):
        where = f"{key}[{number}]"
        if not _VARIABLE.fullmatch(name):
            fix = 'name an environment variable, such as "GITHUB_TOKEN", and not its value'
            raise fail(where, name, "is no variable's name", fix)
        value = environment.get(name)
        if not value:
            raise fail(where, name, "is not set in the environment", f"set ${name}")
        if len(value) < SECRET_CHARS_MIN:
            what = f"has a value of less than {SECRET_CHARS_MIN} characters, too short to redact"
            raise fail(where, name, what, "use a longer secret")


def check_output(key: str, section: WorkerOutputSection, fail: Fail) -> None:
    """Check [worker.NAME.output].

    Raises:
        ConfigError: with the key's path, its value, and the cure.
    """
    for number, name in enumerate(section.checks):
        where = f"{key}.checks[{number}]"
        if name in section.checks[:number]:
            raise fail(where, name, "is there twice", "name each check once")
        if ":" in name and not _OWN.fullmatch(name):
            fix = 'write "module:function", such as "my_agent:check_posts"'
            raise fail(where, name, "names no function", fix)
        if ":" not in name and name not in _BUILT_IN:
            what = "is no check; one of your own is module:function"
            raise fail(where, name, what, did_you_mean(name, _BUILT_IN))
        needed = _BUILT_IN.get(name)
        if needed and not getattr(section, needed):
            raise fail(where, name, f"needs {needed}", f"add {needed} = ... beside it")
    for name, needed in _BUILT_IN.items():
        if needed and getattr(section, needed) and name not in section.checks:
            fix = f'add "{name}" to checks'
            raise fail(f"{key}.{needed}", getattr(section, needed), "is asked by no check", fix)

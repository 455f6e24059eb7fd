"""What types alone can't say of [policy]'s values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from supervisor.config.explain import did_you_mean
from supervisor.config.policy_sections import ConditionSection, EvaluatorSection, PolicySection
from supervisor.errors import ConfigError

#: How deep a condition may be; a leaf alone is 1 (governance.md).
_DEPTH_MAX = 6
#: As many actions as governance/risk.py looks back.
_PATTERN_MAX = 10
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PATTERN = re.compile(r"[A-Za-z0-9_.*?\[\]!-]{1,200}")
_LISTS = ("blocked", "steer", "always_approve", "auto_approve", "unrestricted")

Fail = Callable[[str, object, str, str], ConfigError]


def check_policy(policy: PolicySection, workers: Mapping[str, object], fail: Fail) -> None:
    """Check what the policy names against what there is.

    Raises:
        ConfigError: made by `fail` of a key, its value, what is wrong, and the cure.
    """
    _check_lists(policy, fail)
    _check_actions(policy, workers, fail)
    for name, evaluator in policy.evaluator.items():
        _check_name(f"policy.evaluator.{name}", name, fail)
        _check_evaluator(f"policy.evaluator.{name}", evaluator, fail)
    for name in policy.evaluators:
        _check_evaluator_name("policy.evaluators", name, policy, fail)
    _check_session_risk(policy, fail)
    if policy.auto.condition is not None:
        _check_condition(policy, fail)


def _check_lists(policy: PolicySection, fail: Fail) -> None:
    for name in _LISTS:
        for pattern in getattr(policy, name):
            if not _PATTERN.fullmatch(pattern):
                fix = 'name actions, or patterns such as "tag_*"'
                raise fail(f"policy.{name}", pattern, "is no action's name", fix)


def _check_actions(policy: PolicySection, workers: Mapping[str, object], fail: Fail) -> None:
    for name, action in policy.action.items():
        _check_name(f"policy.action.{name}", name, fail)
        for worker in action.workers:
            if worker not in workers:
                fix = did_you_mean(worker, workers)
                key = f"policy.action.{name}.workers"
                raise fail(key, worker, "names no worker of this config", fix)


def _check_session_risk(policy: PolicySection, fail: Fail) -> None:
    rules = policy.session_risk
    if rules.high_from < rules.medium_from:
        fix = f"write at least medium_from = {rules.medium_from}"
        raise fail("policy.session_risk.high_from", rules.high_from, "is below medium", fix)
    for pattern in rules.patterns:
        if not 0 < len(pattern) <= _PATTERN_MAX:
            fix = f"name 1 to {_PATTERN_MAX} actions in their order"
            raise fail("policy.session_risk.patterns", pattern, "can't be looked for", fix)


def _check_name(key: str, name: str, fail: Fail) -> None:
    if not _NAME.fullmatch(name):
        fix = "use letters, digits and . _ -, at most 64"
        raise fail(key, name, "is not a usable name", fix)


def _check_evaluator(key: str, evaluator: EvaluatorSection, fail: Fail) -> None:
    if evaluator.kind == "regex":
        for pattern in (*evaluator.deny, *evaluator.allow):
            try:
                re.compile(pattern)
            except re.error as error:
                raise fail(key, pattern, f"is no regular expression: {error}", "mend it") from error
    keys = {"regex": ("deny", "allow"), "list": ("block", "allow")}.get(evaluator.kind)
    if keys is not None and not any(getattr(evaluator, name) for name in keys):
        raise fail(key, evaluator.kind, "judges nothing", f"add {' or '.join(keys)}")


def _check_evaluator_name(key: str, name: str, policy: PolicySection, fail: Fail) -> None:
    if name not in policy.evaluator:
        fix = did_you_mean(name, policy.evaluator)
        raise fail(key, name, "names no [policy.evaluator.NAME]", fix)


def _check_condition(policy: PolicySection, fail: Fail) -> None:
    assert policy.auto.condition is not None, "checked only where there is one"
    key = "policy.auto.condition"
    for node, level in _nodes(policy.auto.condition, 1):
        if level > _DEPTH_MAX:
            raise fail(key, level, f"is deeper than {_DEPTH_MAX} levels", "make it flatter")
        keys = [name for name in node.__struct_fields__ if getattr(node, name) is not None]
        if len(keys) != 1:
            fix = "write one key in each table, such as { and = [ { score = 0.8 }, ... ] }"
            raise fail(key, ", ".join(keys) or "{}", "has not one key at each level", fix)
        if node.all_of == () or node.any_of == ():
            raise fail(key, "[]", "has nothing to look at", "add a condition, or leave it out")
        if node.evaluator is not None:
            _check_evaluator_name(f"{key}.evaluator", node.evaluator, policy, fail)


def _nodes(node: ConditionSection, level: int) -> Iterator[tuple[ConditionSection, int]]:
    yield node, level
    below = (*(node.all_of or ()), *(node.any_of or ()), node.none_of)
    for child in below:
        if child is not None:
            yield from _nodes(child, level + 1)

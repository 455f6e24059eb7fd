"""The kinds of events of the tools that workers are given: requests, and what was refused."""

from __future__ import annotations

from supervisor.events.event import Event


class HttpRequested(Event, frozen=True, kw_only=True):
    """A worker's request passed the gates and its rules, and was about to be sent.

    `url` is without its query. No record of it, no request.
    """

    kind = "http_requested"
    worker: str
    request: str
    method: str
    url: str


class HttpEnded(Event, frozen=True, kw_only=True):
    """A request's answer was read, or it failed, as `why` says; `status` is 0 for no answer."""

    kind = "http_ended"
    worker: str
    request: str
    status: int
    body_bytes: int
    duration_s: float
    why: str = ""


class GuardrailTool(Event, frozen=True, kw_only=True):
    """A worker asked a tool for what it may not have: `tool` is http, files, memory or secrets."""

    kind = "guardrail_tool"
    worker: str
    tool: str
    target: str
    code: str
    why: str


class GuardrailOutput(Event, frozen=True, kw_only=True):
    """What a tick handed over was rejected by a check, so that the tick failed.

    Nothing of it was published; `drafts` is where it lies, below the state directory.
    """

    kind = "guardrail_output"
    worker: str
    tick: int
    check: str
    why: str
    outputs: int
    drafts: str


class OutputPublished(Event, frozen=True, kw_only=True):
    """An output passed its checks and the gates, and was about to be sent.

    `fingerprint` is of what it says. After a crash before the tick's end nobody knows whether it
    went out.
    """

    kind = "output_published"
    worker: str
    output: str
    fingerprint: str
    key: str = ""


class MemoryChanged(Event, frozen=True, kw_only=True):
    """A worker remembered a value, or forgot it, which has 0 bytes and no hash (SHA-256)."""

    kind = "memory_changed"
    worker: str
    key: str
    value_bytes: int
    value_sha256: str

"""The kind of event that tells what a tick was worth to people."""

from __future__ import annotations

from supervisor.events.event import Event


class ValueReported(Event, frozen=True, kw_only=True):
    """A tick saved people `micro_hours` of work, at `rate` an hour worth `worth`; see `is_preset`.

    `is_preset`: the config says so of each tick that ends ok, and the worker has said nothing.
    """

    kind = "value_reported"
    worker: str
    tick: int
    micro_hours: int
    rate: int
    worth: int
    what: str = ""
    is_preset: bool = False

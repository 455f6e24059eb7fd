"""`supervisor reconcile`."""

from __future__ import annotations

import argparse
import math

import msgspec

from supervisor.cli.invocation import Invocation
from supervisor.cli.output import print_json
from supervisor.cli.parser import Parser
from supervisor.cli.signing import origin_of
from supervisor.cli.store import write_store
from supervisor.governance.reconciliation import ReconcileCommand, reconcile_hold
from supervisor.money import USD_MAX, micro_usd, usd_text


class ReconcileOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `reconcile` is told."""

    hold: str
    actual_usd: float
    actor: str | None
    command_id: str | None


def add_options(parser: Parser) -> None:
    """Tell the parser the command's options."""
    parser.add_argument(
        "hold", metavar="HOLD", help="its id, as `events --kind hold_forfeited` has it"
    )
    parser.add_argument(
        "--actual-usd",
        type=_amount,
        required=True,
        metavar="USD",
        help="what the provider's bill says the call cost",
    )
    parser.add_argument("--actor", metavar="NAME", help="who does it; else the user")
    parser.add_argument(
        "--command-id", metavar="ID", help="repeating it repeats the answer, not the act"
    )
    parser.epilog = (
        "A call whose cost is unknown counts at its full hold. Where the provider's bill shows\n"
        "what it was, this puts it right, on the accounts of the period in which it was placed."
    )


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not (math.isfinite(amount) and 0 <= amount <= USD_MAX):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no amount: write USD such as 1.5, at most {USD_MAX:g}"
        )
    return amount


def run(invocation: Invocation) -> int:
    """Put a forfeited hold at its actual cost.

    Raises:
        NotFound: there is no such hold.
        CommandConflict: it is not forfeited, or was put at another cost.
        StoreUnavailable: the store does not take it; nothing was done.
    """
    options = invocation.options(ReconcileOptions)
    loaded = invocation.load()
    origin = origin_of(options)
    order = ReconcileCommand(hold_id=options.hold, cost=micro_usd(options.actual_usd))
    done = write_store(loaded, reconcile_hold, order, origin, loaded.timezone)
    if invocation.is_json:
        print_json(msgspec.to_builtins(done))
    else:
        before, now = usd_text(done.cost_before), usd_text(done.cost)
        print(f"hold {done.hold_id}: was {before}, is {now} now")
    return 0

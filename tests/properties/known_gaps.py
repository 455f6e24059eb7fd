"""What the product is known to get wrong, and the state machines therefore keep away from.

Each has its smallest reproduction in test_known_gaps.py, which turns red when the gap is mended.
Then its line here becomes True, and the machines try that too.
"""

from __future__ import annotations

#: A period begins at the first of two midnights (America/Havana, in autumn).
PERIODS_BEGIN_AT_THE_FIRST_MIDNIGHT = True
#: A reload reaches the period that the ledger is in, also while the wall clock is ahead of it.
LIMITS_FOLLOW_THE_LEDGERS_CLOCK = True
#: A limit that is taken out and put back counts what was used in between.
LIMITS_COME_BACK_WHOLE = True
#: A limit that is added while calls are in flight, or not reconciled yet, follows their ends.
NEW_LIMITS_FOLLOW_EARLIER_HOLDS = True
#: A limit for a session, or for ever, that is added later counts what was used before.
NEW_LIMITS_COUNT_THE_SESSION = True
#: A worker goes on when its window is made wider.
WINDOWS_CAN_BE_WIDENED = True
#: A restart with a timezone further west does not spend in yesterday again.
TIMEZONES_CAN_BE_CHANGED = True
#: Postgres takes texts with a NUL, as SQLite does.
POSTGRES_TAKES_A_NUL = True

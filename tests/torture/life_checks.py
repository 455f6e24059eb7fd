"""What must be true of ticks, sessions, kills and digests after a daemon has been killed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence

from tests.torture.life import Life
from tests.torture.looking import Look
from tests.torture.site import WINDOW_S, TorturedSite

_WINDOW_US = WINDOW_S * 1_000_000
_SUBJECT = re.compile(r"subject-\d+-end")


def boot_of(look: Look, life: Life) -> str | None:
    """Return the id that a life gave itself in the store, if it got that far."""
    boots = look.names(
        "SELECT boot_id FROM daemons WHERE pid = :pid AND started_at >= :since",
        pid=life.pid,
        since=int(life.began_at * 1e6),
    )
    return boots[0] if boots else None


def resumed_s(look: Look, life: Life, boot_id: str) -> float | None:
    """Return the seconds from a life's exec to its first tick's end, None if it had none."""
    ((first,),) = look.rows("SELECT min(ended_at) FROM ticks WHERE boot_id = :boot", boot=boot_id)
    return None if first is None else int(str(first)) / 1e6 - life.began_at


def ticks_begun(look: Look, boot_id: str, *, worker: str = "") -> int:
    """Return how many ticks of a life passed the gates, of one worker or of all."""
    return look.number(
        "SELECT count(*) FROM ticks WHERE boot_id = :boot AND (:worker = '' OR worker = :worker)"
        " AND (outcome IS NULL OR outcome <> 'skipped')",
        boot=boot_id,
        worker=worker,
    )


def check_recovered(look: Look, boot_id: str, *, peer: str = "") -> None:
    """Assert that a life which has begun a tick had closed all that dead others left open.

    `peer` is the one life that goes on beside it, if there is one.
    """
    ticks = look.rows(
        "SELECT worker, number FROM ticks"
        " WHERE outcome IS NULL AND boot_id <> :boot AND boot_id <> :peer",
        boot=boot_id,
        peer=peer,
    )
    assert ticks == [], f"ticks of dead lives still run: {ticks}"
    holds = look.names(
        "SELECT id FROM holds WHERE status = 'open' AND boot_id <> :boot AND boot_id <> :peer",
        boot=boot_id,
        peer=peer,
    )
    assert holds == [], f"holds of dead lives are still open: {holds}"
    silent = look.names(
        "SELECT id FROM holds WHERE status IN ('forfeited', 'released') AND why = ''"
    )
    assert silent == [], f"holds that ended without a reason: {silent}"


def check_ticks(look: Look) -> None:
    """Assert that no tick is missing or twice, and that each worker's state is that of its last."""
    rows = look.rows(
        "SELECT name, state, last_tick, (SELECT count(*) FROM ticks WHERE worker = name),"
        " (SELECT coalesce(max(number), 0) FROM ticks WHERE worker = name),"
        " (SELECT count(*) FROM ticks WHERE worker = name AND outcome IS NULL),"
        " (SELECT count(*) FROM ticks WHERE worker = name AND outcome = 'ok') FROM workers"
    )
    for name, state, *numbers in rows:
        last, count, highest, running, ok = (int(str(number)) for number in numbers)
        assert last == count == highest, f"{name}: last {last}, {count} ticks up to {highest}"
        assert running <= 1, f"{name} runs {running} ticks at once"
        if name != "digest":
            counted = json.loads(str(state)).get("count", 0)
            assert counted == ok, f"{name} has counted {counted} ticks, {ok} were ok"


def check_windows(look: Look) -> None:
    """Assert that each worker has one session a window, and one open at most."""
    rows = look.rows(
        "SELECT worker, status, window_start, window_end FROM sessions"
        " WHERE worker <> 'system' ORDER BY worker, window_start"
    )
    ended: dict[object, int] = {}
    are_open: Counter[object] = Counter()
    for worker, status, *window in rows:
        start, end = (int(str(moment)) for moment in window)
        is_whole = start % _WINDOW_US == 0 and end - start == _WINDOW_US
        assert is_whole, f"{worker}: a window from {start} to {end}"
        assert start >= ended.get(worker, 0), f"{worker}: two sessions at {start}"
        ended[worker] = end
        are_open[worker] += status not in ("completed", "aborted")
    assert max(are_open.values(), default=0) <= 1, f"sessions open: {are_open}"


def check_latched(look: Look, *, scope: str) -> None:
    """Assert that the kill is in force."""
    latched = look.names(
        "SELECT scope FROM kill_latches WHERE scope = :scope AND is_engaged <> 0", scope=scope
    )
    assert latched == [scope], f"the kill of {scope} was answered, and is not latched"


def check_command_once(look: Look, *, command_id: str, kind: str) -> None:
    """Assert that a command that was sent again and again was done once."""
    told = look.number(
        "SELECT count(*) FROM events WHERE command_id = :id AND kind = :kind",
        id=command_id,
        kind=kind,
    )
    assert told == 1, f"{kind} for {command_id} stands {told} times in the events"


def check_digests(site: TorturedSite, subjects: Sequence[str], *, all_of_them: bool) -> None:
    """Assert that no commit is in two digests, or in none where `all_of_them` are due."""
    told: Counter[str] = Counter()
    for report in site.reports():
        told.update(set(_SUBJECT.findall(report.read_text(encoding="utf-8"))))
    twice = [subject for subject in subjects if told[subject] > 1]
    assert twice == [], f"digested twice: {twice}"
    lost = [subject for subject in subjects if not told[subject]]
    assert not (all_of_them and lost), f"never digested: {lost}"


def check_audit(site: TorturedSite) -> None:
    """Assert that the product's own audit finds nothing."""
    report = site.audited()
    texts = [finding.text for finding in report.findings]
    assert report.is_clean, f"the audit found {report.findings_total}: {texts[:5]}"

-- Exporting windows that are over, pruning them, and what stays of them.

-- name: account_sums
SELECT id, limit_amount, limit_at, settled, held, overrun FROM account_sums ORDER BY id

-- name: worker_sums
SELECT worker, last_tick, last_session FROM worker_sums ORDER BY worker

-- name: state_sums
SELECT subject, state, at_position FROM state_sums ORDER BY subject

-- name: last_export
SELECT number, file, sha256, bytes, sessions, events, until, cut_at, sums_sha256, exported_at,
    pruned_at
FROM exports
ORDER BY number DESC
LIMIT 1

-- name: exports
SELECT number, file, sha256, bytes, sessions, events, until, cut_at, sums_sha256, exported_at,
    pruned_at
FROM exports
ORDER BY number DESC
LIMIT :rows_max

-- The system's sessions whose windows are over before the cut, the oldest first.
-- name: old_system_windows
SELECT id, window_start FROM sessions
WHERE worker = :system AND status IN ('completed', 'aborted')
    AND window_end <= :cut AND closed_at <= :cut
    AND id NOT IN (SELECT session_id FROM retiring)
ORDER BY window_start
LIMIT :rows_max

-- name: next_window
SELECT id, window_start, opened_at FROM sessions
WHERE worker = :worker AND window_start > :after
ORDER BY window_start
LIMIT 1

-- A hold of a window that was over by then, and that ended, or was put right, after it.
-- name: ended_later
SELECT holds.id FROM holds JOIN sessions ON sessions.id = holds.session_id
WHERE holds.placed_at < :cut_at AND holds.ended_at >= :cut_at AND sessions.closed_at < :cut_at
    AND holds.session_id NOT IN (SELECT session_id FROM retiring)
LIMIT 1

-- name: first_position
SELECT position FROM events WHERE session_id = :session_id AND seq = 1

-- Every session that began before a moment, each worker's oldest first. One may go if it is over,
-- has nothing behind the position :until, and nothing that somebody or something still waits for.
-- name: windows_before
SELECT id, worker,
    CASE WHEN status IN ('completed', 'aborted')
        AND window_end <= :cut
        AND closed_at <= :cut
        AND coalesce((
            SELECT position FROM events WHERE session_id = sessions.id AND seq = sessions.last_seq
        ), :until) < :until
        AND id NOT IN (SELECT session_id FROM holds WHERE status = 'open')
        AND id NOT IN (
            SELECT session_id FROM ticks WHERE outcome IS NULL AND session_id IS NOT NULL
        )
        AND id NOT IN (SELECT session_id FROM tickets WHERE status = 'pending')
        AND id NOT IN (SELECT session_id FROM proposals WHERE status IN ('pending', 'approved'))
        AND 'session:' || id NOT IN (SELECT scope FROM kill_latches WHERE is_engaged = 1)
    THEN 1 ELSE 0 END AS may_go,
    CASE WHEN window_end <= :old THEN 1 ELSE 0 END AS is_old
FROM sessions
WHERE window_start < :before AND id NOT IN (SELECT session_id FROM retiring)
ORDER BY worker, window_start

-- What could still change of a session that is over: since then, somebody has put a hold right.
-- name: put_right_since
SELECT coalesce(max(position), 0) AS position FROM events
WHERE position > :after AND kind IN ('hold_reconciled', 'hold_joined')

-- name: newest
SELECT coalesce(max(position), 0) AS position FROM events

-- --- copies, as they are stored

-- name: events_between
SELECT * FROM events WHERE position > :after AND position < :until ORDER BY position LIMIT :rows_max

-- name: copy_session
SELECT * FROM sessions WHERE id = :id

-- name: holds_by_session
SELECT session_id, count(*) AS number FROM holds GROUP BY session_id

-- name: copy_hold
SELECT * FROM holds WHERE id = :id

-- name: copy_tick
SELECT * FROM ticks WHERE worker = :worker AND number = :number

-- name: copy_proposal
SELECT * FROM proposals WHERE id = :id

-- name: copy_ticket
SELECT * FROM tickets WHERE id = :id

-- name: copy_grant
SELECT * FROM session_grants WHERE id = :id

-- name: copy_risk
SELECT * FROM session_risks WHERE session_id = :session_id

-- name: copy_steers
SELECT * FROM steers WHERE session_id = :session_id

-- name: copy_command
SELECT * FROM commands WHERE id = :id

-- name: copy_commands_before
SELECT * FROM commands WHERE at < :cut_at AND id > :after ORDER BY id LIMIT :rows_max

-- name: copy_account
SELECT * FROM accounts WHERE id = :id

-- name: copy_latch
SELECT * FROM kill_latches WHERE scope = :name

-- name: copy_breaker
SELECT * FROM breakers WHERE name = :name

-- name: copy_ledger_clock
SELECT * FROM ledger_clock

-- --- the seal

-- name: record_export
INSERT INTO exports (
    number, file, sha256, bytes, sessions, events, until, cut_at, sums_sha256, exported_at
) VALUES (
    :number, :file, :digest, :bytes, :sessions, :events, :until, :cut_at, :sums_digest,
    :exported_at
)

-- name: seal
UPDATE exports SET sums_sha256 = :sums_digest WHERE number = :number

-- name: retire
INSERT INTO retiring (session_id, export) VALUES (:session_id, :export)

-- name: set_account_sum
INSERT INTO account_sums (id, limit_amount, limit_at, settled, held, overrun)
VALUES (:id, :limit_amount, :limit_at, :settled, :held, :overrun)
ON CONFLICT (id) DO UPDATE SET
    limit_amount = excluded.limit_amount,
    limit_at = excluded.limit_at,
    settled = excluded.settled,
    held = excluded.held,
    overrun = excluded.overrun

-- name: set_worker_sum
INSERT INTO worker_sums (worker, last_tick, last_session)
VALUES (:worker, :last_tick, :last_session)
ON CONFLICT (worker) DO UPDATE SET
    last_tick = excluded.last_tick, last_session = excluded.last_session

-- name: set_state_sum
INSERT INTO state_sums (subject, state, at_position) VALUES (:subject, :state, :at_position)
ON CONFLICT (subject) DO UPDATE SET
    state = excluded.state, at_position = excluded.at_position

-- Accounts that count no more: their session has gone, or their period was over before the cut.
-- name: accounts_over
SELECT accounts.id, accounts.limit_amount, accounts.settled, accounts.held, accounts.overrun
FROM accounts JOIN account_sums ON account_sums.id = accounts.id
WHERE (
    accounts.period = 'session'
    AND (
        accounts.period_key IN (SELECT session_id FROM retiring)
        OR accounts.period_key NOT IN (SELECT id FROM sessions)
    )
) OR (accounts.period <> 'session' AND accounts.resets_at <= :cut_at)
ORDER BY accounts.id

-- The accounts of holds that stay though they were placed before the cut: these count on.
-- name: accounts_of_old_holds
SELECT DISTINCT account_ids FROM holds
WHERE placed_at < :cut_at AND session_id NOT IN (SELECT session_id FROM retiring)

-- name: drop_account
DELETE FROM accounts WHERE id = :id

-- name: drop_account_sum
DELETE FROM account_sums WHERE id = :id

-- --- pruning

-- name: retiring_events
SELECT session_id, seq, kind, payload FROM events
WHERE session_id = (SELECT min(session_id) FROM retiring)
ORDER BY seq
LIMIT :rows_max

-- name: drop_events
DELETE FROM events WHERE session_id = :session_id AND seq <= :seq

-- name: drop_hold
DELETE FROM holds WHERE id = :id

-- name: drop_tick
DELETE FROM ticks WHERE worker = :worker AND number = :number

-- name: drop_grants
DELETE FROM session_grants
WHERE id IN (SELECT id FROM tickets WHERE proposal_id = :proposal_id)

-- name: drop_tickets
DELETE FROM tickets WHERE proposal_id = :proposal_id

-- name: drop_proposal
DELETE FROM proposals WHERE id = :id

-- name: emptied_session
SELECT min(session_id) AS id FROM retiring

-- name: drop_risk
DELETE FROM session_risks WHERE session_id = :session_id

-- name: drop_steers
DELETE FROM steers WHERE session_id = :session_id

-- name: drop_retiring
DELETE FROM retiring WHERE session_id = :session_id

-- name: drop_session
DELETE FROM sessions WHERE id = :session_id

-- name: drop_commands
DELETE FROM commands
WHERE id IN (SELECT id FROM commands WHERE at < :cut_at ORDER BY id LIMIT :rows_max)

-- Lives that are over and of which no tick and no hold is left that could name them.
-- name: drop_lives
DELETE FROM daemons
WHERE stopped_at < :cut_at AND boot_id NOT IN (
    SELECT boot_id FROM daemons ORDER BY started_at DESC LIMIT :lives_kept
)

-- name: old_checkpoints
SELECT id FROM (
    SELECT id, row_number() OVER (
        PARTITION BY worker ORDER BY created_at DESC, tick DESC, id
    ) AS place
    FROM checkpoints
) AS placed
WHERE place > :checkpoints_kept
LIMIT :rows_max

-- name: drop_checkpoint
DELETE FROM checkpoints WHERE id = :id

-- name: pruned
UPDATE exports SET pruned_at = :now
WHERE pruned_at IS NULL AND number NOT IN (SELECT export FROM retiring)

-- --- usage

-- name: add_usage
INSERT INTO retired_usage (
    day_at, last_at, worker, model, org, team, user_id, cost, tokens, actions
) VALUES (
    :day_at, :last_at, :worker, :model, :org, :team, :user_id, :cost, :tokens, :actions
)
ON CONFLICT (day_at, worker, model, org, team, user_id) DO UPDATE SET
    last_at = CASE
        WHEN excluded.last_at > retired_usage.last_at THEN excluded.last_at
        ELSE retired_usage.last_at
    END,
    cost = retired_usage.cost + excluded.cost,
    tokens = retired_usage.tokens + excluded.tokens,
    actions = retired_usage.actions + excluded.actions

-- name: old_usage
SELECT day_at, last_at, worker, model, org, team, user_id, cost, tokens, actions
FROM retired_usage
WHERE day_at > 0 AND day_at < :before
ORDER BY day_at
LIMIT :rows_max

-- name: drop_usage
DELETE FROM retired_usage
WHERE day_at = :day_at AND worker = :worker AND model = :model AND org = :org AND team = :team
    AND user_id = :user_id

-- A day that the moment lies in counts whole: rather too much than too little.
-- name: usage_since
SELECT coalesce(sum(cost), 0) AS cost, coalesce(sum(tokens), 0) AS tokens,
    coalesce(sum(actions), 0) AS actions
FROM retired_usage
WHERE last_at >= :since
    AND (:worker IS NULL OR worker = :worker)
    AND (:model IS NULL OR model = :model)
    AND (:org IS NULL OR org = :org)
    AND (:team IS NULL OR team = :team)
    AND (:user IS NULL OR user_id = :user)

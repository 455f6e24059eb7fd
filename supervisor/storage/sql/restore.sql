-- What a restore reads and writes: a store that was put back, and the one that was there before.

-- The moment of the last thing that a store knows.
-- name: last_event
SELECT at, position FROM events ORDER BY position DESC LIMIT 1

-- The ends of the chains that can still grow: a later state of the same store has these events.
-- name: open_heads
SELECT id, last_seq, last_hash FROM sessions
WHERE status IN ('created', 'active', 'paused') AND last_seq > 0
ORDER BY id

-- name: hash_of_event
SELECT hash FROM events WHERE session_id = :session_id AND seq = :seq

-- Accounts that can still refuse something, the sessions' own among them.
-- name: running_accounts
SELECT id, scope, period, period_key, unit, limit_amount, settled, held, resets_at
FROM accounts
WHERE (resets_at IS NULL OR resets_at > :now)
    AND (period <> 'session' OR period_key IN (
        SELECT id FROM sessions
        WHERE window_end > :now OR status IN ('created', 'active', 'paused')
    ))
ORDER BY id

-- name: every_balance
SELECT id, settled, held FROM accounts ORDER BY id

-- What was used since a moment, for limits that are set later; an open hold counts whole.
-- name: used_by_each
SELECT worker, model, org, team, user_id, conversation,
    coalesce(sum(CASE WHEN status = 'open' THEN cost_held ELSE cost_settled END), 0) AS cost,
    coalesce(sum(CASE WHEN status = 'open' THEN tokens_held ELSE tokens_settled END), 0) AS tokens,
    coalesce(sum(CASE WHEN status = 'open' THEN actions_held ELSE actions_settled END), 0)
        AS actions
FROM holds
WHERE placed_at >= :since
GROUP BY worker, model, org, team, user_id, conversation
ORDER BY worker, model, org, team, user_id, conversation

-- name: breakers_not_closed
SELECT name, state, cause, why, changed_at, retry_at, openings, failures
FROM breakers WHERE state <> 'closed' ORDER BY name

-- Those that wait for a person, and those that one has ended whose window is not over.
-- name: paused_sessions
SELECT id, worker, CASE WHEN status = 'aborted' THEN 'aborted: ' || why ELSE why END AS why
FROM sessions
WHERE (status = 'paused' AND why <> :stopped)
    OR (status = 'aborted' AND window_end > (SELECT at FROM ledger_clock WHERE id = 1))
ORDER BY id

-- Money that is known to be spent though no hold of this store says so.
-- name: carry
UPDATE accounts SET settled = :settled, overrun = :overrun WHERE id = :id

-- The one statement that lets the ledger's clock go back, in a person's name.
-- name: reset_clock
UPDATE ledger_clock SET at = :now WHERE id = 1

-- name: keep_gap
INSERT INTO ledger_gaps (id, began_at, ended_at, cost, tokens, actions)
VALUES (:id, :began_at, :ended_at, :cost, :tokens, :actions)

-- name: gaps_since
SELECT cost, tokens, actions FROM ledger_gaps WHERE ended_at >= :since ORDER BY id

-- name: window_start
SELECT window_start AS at FROM sessions WHERE id = :id

-- Approvals that nobody has taken up in this store; whether anybody has since is not known.
-- name: unused_approvals
SELECT id, worker, session_id, tick, content, risk, tier, step, reason, status, code, why,
    grant_id, is_drawn, is_counted, hold_id, proposed_at, open_until
FROM proposals
WHERE status = 'approved' AND hold_id IS NULL
ORDER BY proposed_at, id

-- name: pending_tickets
SELECT id, proposal_id, worker, session_id, is_draft, why, status, requested_at, deadline_at,
    decided_at, decided_by, decision_why
FROM tickets
WHERE status = 'pending'
ORDER BY requested_at, id

-- A moment that is over by any clock: one that is put right later revives none of them.
-- name: end_grants
UPDATE session_grants SET expires_at = granted_at - 1
WHERE expires_at IS NULL OR expires_at >= granted_at

-- The ledger's clock never goes back: a period that was left is not entered again.
-- name: set_clock
UPDATE ledger_clock SET at = :now WHERE id = 1 AND at < :now

-- name: clock
SELECT at FROM ledger_clock WHERE id = 1

-- name: account
SELECT id, scope, period, unit, limit_amount, settled, held, overrun, resets_at, warned_at,
    exhausted_at
FROM accounts
WHERE id = :id

-- Accounts whose period goes on, for `supervisor spend` and /metrics.
-- name: current_accounts
SELECT id, scope, period, unit, limit_amount, settled, held, overrun, resets_at, warned_at,
    exhausted_at
FROM accounts
WHERE (resets_at IS NULL OR resets_at > :now)
    AND (period <> 'session' OR period_key IN (
        SELECT id FROM sessions WHERE status IN ('created', 'active', 'paused')
    ))
ORDER BY id

-- name: open_account
INSERT INTO accounts (
    id, scope, period, period_key, unit, limit_amount, settled, held, overrun, opened_at, resets_at
) VALUES (
    :id, :scope, :period, :period_key, :unit, :limit_amount, :settled, 0, :overrun, :now,
    :resets_at
)

-- A limit that is gone for now: its account takes part in nothing until it is renewed.
-- name: lay_down
UPDATE accounts SET resets_at = :now WHERE id = :id

-- An account under another limit or calendar than it was opened with.
-- name: renew_account
UPDATE accounts SET
    limit_amount = :limit_amount,
    settled = :settled,
    overrun = :overrun,
    resets_at = :resets_at,
    warned_at = NULL,
    exhausted_at = NULL
WHERE id = :id

-- name: set_limit
UPDATE accounts SET
    limit_amount = :limit_amount,
    overrun = CASE
        WHEN settled + held > :limit_amount THEN settled + held - :limit_amount
        ELSE 0
    END,
    warned_at = NULL,
    exhausted_at = NULL
WHERE id = :id
RETURNING id, scope, period, unit, limit_amount, settled, held, overrun, resets_at, warned_at,
    exhausted_at

-- What holds have moved. The table's own rule is the last guard of every limit: the sum of what it
-- has and what is moved must fit, or be overrun that an event names.
-- name: move_account
UPDATE accounts SET
    held = held + :held_by, settled = settled + :settled_by, overrun = :overrun
WHERE id = :id AND limit_amount = :limit_amount

-- name: mark_warned
UPDATE accounts SET warned_at = :now WHERE id = :id AND warned_at IS NULL

-- name: mark_exhausted
UPDATE accounts SET exhausted_at = :now WHERE id = :id AND exhausted_at IS NULL

-- name: hold
SELECT id, boot_id, worker, session_id, tick, model, what, account_ids, placed_at, cost_held,
    tokens_held, actions_held, status, cost_settled, tokens_settled, actions_settled, why
FROM holds
WHERE id = :id

-- name: open_holds_of_tick
SELECT id, boot_id, worker, session_id, tick, model, what, account_ids, placed_at, cost_held,
    tokens_held, actions_held, status, cost_settled, tokens_settled, actions_settled, why
FROM holds
WHERE status = 'open' AND worker = :worker AND tick = :tick
ORDER BY id

-- name: place_hold
INSERT INTO holds (
    id, boot_id, worker, session_id, tick, model, what, account_ids, placed_at, cost_held,
    tokens_held, actions_held, status
) VALUES (
    :id, :boot_id, :worker, :session_id, :tick, :model, :what, :account_ids, :placed_at,
    :cost_held, :tokens_held, :actions_held, 'open'
)
ON CONFLICT (id) DO NOTHING

-- Only from the status that the caller knows: a hold ends once.
-- name: turn_hold
UPDATE holds SET
    status = :status,
    ended_at = :now,
    cost_settled = :cost,
    tokens_settled = :tokens,
    actions_settled = :actions,
    why = :why
WHERE id = :id AND status = :before

-- What a scope has used since a moment; an open hold counts whole.
-- name: used_since
SELECT
    coalesce(sum(CASE WHEN status = 'open' THEN cost_held ELSE cost_settled END), 0) AS cost,
    coalesce(sum(CASE WHEN status = 'open' THEN tokens_held ELSE tokens_settled END), 0) AS tokens,
    coalesce(sum(CASE WHEN status = 'open' THEN actions_held ELSE actions_settled END), 0)
        AS actions
FROM holds
WHERE placed_at >= :since
    AND (:worker IS NULL OR worker = :worker)
    AND (:model IS NULL OR model = :model)
    AND (:session_id IS NULL OR session_id = :session_id)

-- name: spend_by_worker
SELECT worker AS key, count(*) AS holds, sum(cost_settled) AS cost, sum(tokens_settled) AS tokens,
    sum(CASE WHEN status = 'open' THEN cost_held ELSE 0 END) AS held
FROM holds WHERE placed_at >= :since GROUP BY worker ORDER BY cost DESC, key

-- name: spend_by_model
SELECT model AS key, count(*) AS holds, sum(cost_settled) AS cost, sum(tokens_settled) AS tokens,
    sum(CASE WHEN status = 'open' THEN cost_held ELSE 0 END) AS held
FROM holds WHERE placed_at >= :since GROUP BY model ORDER BY cost DESC, key

-- name: spend_by_session
SELECT session_id AS key, count(*) AS holds, sum(cost_settled) AS cost,
    sum(tokens_settled) AS tokens,
    sum(CASE WHEN status = 'open' THEN cost_held ELSE 0 END) AS held
FROM holds WHERE placed_at >= :since GROUP BY session_id ORDER BY cost DESC, key

-- name: spend_by_day
SELECT period_key AS key, 0 AS holds, settled AS cost, 0 AS tokens, held
FROM accounts
WHERE scope = 'system' AND period = 'day' AND unit = 'micro_usd' AND opened_at >= :since
ORDER BY period_key DESC

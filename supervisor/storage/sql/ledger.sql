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
    :id, :scope, :period, :period_key, :unit, :limit_amount, :settled, :held, :overrun, :now,
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
    held = :held,
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
    tokens_held, actions_held, status, cost_settled, tokens_settled, actions_settled, why,
    org, team, user_id, conversation
FROM holds
WHERE id = :id

-- name: open_holds_of_tick
SELECT id, boot_id, worker, session_id, tick, model, what, account_ids, placed_at, cost_held,
    tokens_held, actions_held, status, cost_settled, tokens_settled, actions_settled, why,
    org, team, user_id, conversation
FROM holds
WHERE status = 'open' AND worker = :worker AND tick = :tick
ORDER BY id

-- name: place_hold
INSERT INTO holds (
    id, boot_id, worker, session_id, tick, model, what, account_ids, placed_at, cost_held,
    tokens_held, actions_held, status, org, team, user_id, conversation
) VALUES (
    :id, :boot_id, :worker, :session_id, :tick, :model, :what, :account_ids, :placed_at,
    :cost_held, :tokens_held, :actions_held, 'open', :org, :team, :user_id,
    :conversation
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

-- What a scope's ended holds have used since a moment, and how many holds can still change.
-- (A CAST, because Postgres must be told the type of a parameter that may be NULL.)
-- name: used_by_scope
SELECT
    coalesce(sum(cost_settled), 0) AS cost,
    coalesce(sum(tokens_settled), 0) AS tokens,
    coalesce(sum(actions_settled), 0) AS actions,
    coalesce(sum(CASE WHEN status IN ('open', 'forfeited') THEN 1 ELSE 0 END), 0) AS movable
FROM holds
WHERE placed_at >= :since
    AND (CAST(:worker AS TEXT) IS NULL OR worker = :worker)
    AND (CAST(:model AS TEXT) IS NULL OR model = :model)
    AND (CAST(:session_id AS TEXT) IS NULL OR session_id = :session_id)
    AND (CAST(:org AS TEXT) IS NULL OR org = :org)
    AND (CAST(:team AS TEXT) IS NULL OR team = :team)
    AND (CAST(:user AS TEXT) IS NULL OR user_id = :user)
    AND (CAST(:conversation AS TEXT) IS NULL OR conversation = :conversation)

-- The same by the index of users.
-- name: used_by_user
SELECT
    coalesce(sum(cost_settled), 0) AS cost,
    coalesce(sum(tokens_settled), 0) AS tokens,
    coalesce(sum(actions_settled), 0) AS actions,
    coalesce(sum(CASE WHEN status IN ('open', 'forfeited') THEN 1 ELSE 0 END), 0) AS movable
FROM holds
WHERE user_id = :user AND user_id <> ''
    AND placed_at >= :since
    AND (CAST(:worker AS TEXT) IS NULL OR worker = :worker)
    AND (CAST(:model AS TEXT) IS NULL OR model = :model)
    AND (CAST(:session_id AS TEXT) IS NULL OR session_id = :session_id)
    AND (CAST(:org AS TEXT) IS NULL OR org = :org)
    AND (CAST(:team AS TEXT) IS NULL OR team = :team)
    AND (CAST(:conversation AS TEXT) IS NULL OR conversation = :conversation)

-- And by that of conversations.
-- name: used_by_conversation
SELECT
    coalesce(sum(cost_settled), 0) AS cost,
    coalesce(sum(tokens_settled), 0) AS tokens,
    coalesce(sum(actions_settled), 0) AS actions,
    coalesce(sum(CASE WHEN status IN ('open', 'forfeited') THEN 1 ELSE 0 END), 0) AS movable
FROM holds
WHERE conversation = :conversation AND conversation <> ''
    AND placed_at >= :since
    AND (CAST(:worker AS TEXT) IS NULL OR worker = :worker)
    AND (CAST(:model AS TEXT) IS NULL OR model = :model)
    AND (CAST(:session_id AS TEXT) IS NULL OR session_id = :session_id)
    AND (CAST(:org AS TEXT) IS NULL OR org = :org)
    AND (CAST(:team AS TEXT) IS NULL OR team = :team)
    AND (CAST(:user AS TEXT) IS NULL OR user_id = :user)

-- Two halves, so that each has the index of its status.
-- name: movable_holds
SELECT id, account_ids, 1 AS is_open, cost_held AS cost, tokens_held AS tokens,
    actions_held AS actions
FROM holds
WHERE status = 'open'
    AND placed_at >= :since
    AND (CAST(:worker AS TEXT) IS NULL OR worker = :worker)
    AND (CAST(:model AS TEXT) IS NULL OR model = :model)
    AND (CAST(:session_id AS TEXT) IS NULL OR session_id = :session_id)
    AND (CAST(:org AS TEXT) IS NULL OR org = :org)
    AND (CAST(:team AS TEXT) IS NULL OR team = :team)
    AND (CAST(:user AS TEXT) IS NULL OR user_id = :user)
    AND (CAST(:conversation AS TEXT) IS NULL OR conversation = :conversation)
UNION ALL
SELECT id, account_ids, 0 AS is_open, cost_settled AS cost, tokens_settled AS tokens,
    actions_settled AS actions
FROM holds
WHERE status = 'forfeited'
    AND placed_at >= :since
    AND (CAST(:worker AS TEXT) IS NULL OR worker = :worker)
    AND (CAST(:model AS TEXT) IS NULL OR model = :model)
    AND (CAST(:session_id AS TEXT) IS NULL OR session_id = :session_id)
    AND (CAST(:org AS TEXT) IS NULL OR org = :org)
    AND (CAST(:team AS TEXT) IS NULL OR team = :team)
    AND (CAST(:user AS TEXT) IS NULL OR user_id = :user)
    AND (CAST(:conversation AS TEXT) IS NULL OR conversation = :conversation)
ORDER BY id

-- name: join_account
UPDATE holds SET account_ids = :account_ids WHERE id = :id

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

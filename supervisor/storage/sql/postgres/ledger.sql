-- 1. The list of accounts comes in as a JSON array, which each database unfolds in its own way.

-- name: balances
SELECT id, unit, limit_amount, settled, held, overrun, resets_at, warned_at
FROM accounts
WHERE id = ANY (ARRAY(SELECT json_array_elements_text(CAST(:ids AS JSON))))

-- 2. Postgres must be told the type of a parameter that may be NULL.

-- name: used_since
SELECT
    coalesce(sum(CASE WHEN status = 'open' THEN cost_held ELSE cost_settled END), 0) AS cost,
    coalesce(sum(CASE WHEN status = 'open' THEN tokens_held ELSE tokens_settled END), 0) AS tokens,
    coalesce(sum(CASE WHEN status = 'open' THEN actions_held ELSE actions_settled END), 0)
        AS actions
FROM holds
WHERE placed_at >= :since
    AND (CAST(:worker AS TEXT) IS NULL OR worker = :worker)
    AND (CAST(:model AS TEXT) IS NULL OR model = :model)
    AND (CAST(:session_id AS TEXT) IS NULL OR session_id = :session_id)

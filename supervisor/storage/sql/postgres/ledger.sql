-- 1. The list of accounts comes in as a JSON array, which each database unfolds in its own way; and
-- the larger of two values is greatest(). Else these are as in sqlite/ledger.sql.

-- name: hold_on_accounts
UPDATE accounts SET
    held = held + CASE unit
        WHEN 'micro_usd' THEN :cost WHEN 'tokens' THEN :tokens ELSE :actions
    END
WHERE id = ANY (ARRAY(SELECT json_array_elements_text(CAST(:ids AS JSON))))
    AND (
        CASE unit WHEN 'micro_usd' THEN :cost WHEN 'tokens' THEN :tokens ELSE :actions END = 0
        OR settled + held
            + CASE unit WHEN 'micro_usd' THEN :cost WHEN 'tokens' THEN :tokens ELSE :actions END
            <= limit_amount
    )
RETURNING id, unit, limit_amount, settled + held AS used, resets_at, warned_at

-- name: unhold_on_accounts
UPDATE accounts SET
    held = held - CASE unit
        WHEN 'micro_usd' THEN :cost WHEN 'tokens' THEN :tokens ELSE :actions
    END
WHERE id = ANY (ARRAY(SELECT json_array_elements_text(CAST(:ids AS JSON))))

-- name: move_on_accounts
UPDATE accounts SET
    held = held - CASE unit
        WHEN 'micro_usd' THEN :cost_held WHEN 'tokens' THEN :tokens_held ELSE :actions_held
    END,
    settled = settled + CASE unit
        WHEN 'micro_usd' THEN :cost WHEN 'tokens' THEN :tokens ELSE :actions
    END,
    overrun = greatest(
        overrun,
        settled + held - limit_amount + CASE unit
            WHEN 'micro_usd' THEN :cost - :cost_held
            WHEN 'tokens' THEN :tokens - :tokens_held
            ELSE :actions - :actions_held
        END
    )
WHERE id = ANY (ARRAY(SELECT json_array_elements_text(CAST(:ids AS JSON))))
RETURNING id, unit, limit_amount, settled + held AS used, resets_at, warned_at

-- name: spent_accounts
SELECT id, scope, period, unit, limit_amount, settled, held, overrun, resets_at, warned_at,
    exhausted_at
FROM accounts
WHERE id = ANY (ARRAY(SELECT json_array_elements_text(CAST(:ids AS JSON))))
    AND settled + held >= limit_amount
ORDER BY id

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

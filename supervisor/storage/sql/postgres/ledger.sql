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

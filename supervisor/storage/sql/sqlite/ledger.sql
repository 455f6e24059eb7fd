-- Here and not shared, because the list of accounts comes in as a JSON array, which each database
-- unfolds in its own way. One statement for all accounts of a hold: they move together.

-- The one guard of every limit: where the hold fits, the account's row changes. A hold of nothing
-- (a free model on an account of money) always fits, also on an account that is spent.
-- name: hold_on_accounts
UPDATE accounts SET
    held = held + CASE unit
        WHEN 'micro_usd' THEN :cost WHEN 'tokens' THEN :tokens ELSE :actions
    END
WHERE id IN (SELECT value FROM json_each(:ids))
    AND (
        CASE unit WHEN 'micro_usd' THEN :cost WHEN 'tokens' THEN :tokens ELSE :actions END = 0
        OR settled + held
            + CASE unit WHEN 'micro_usd' THEN :cost WHEN 'tokens' THEN :tokens ELSE :actions END
            <= limit_amount
    )
RETURNING id, unit, limit_amount, settled + held AS used, resets_at, warned_at

-- Takes a hold back from the accounts that it was placed on, where another one refused it.
-- name: unhold_on_accounts
UPDATE accounts SET
    held = held - CASE unit
        WHEN 'micro_usd' THEN :cost WHEN 'tokens' THEN :tokens ELSE :actions
    END
WHERE id IN (SELECT value FROM json_each(:ids))

-- What is held goes down by :..._held and what is settled up by the rest, which is negative where
-- a forfeit is put right. What stands above the limit after that is the overrun.
-- name: move_on_accounts
UPDATE accounts SET
    held = held - CASE unit
        WHEN 'micro_usd' THEN :cost_held WHEN 'tokens' THEN :tokens_held ELSE :actions_held
    END,
    settled = settled + CASE unit
        WHEN 'micro_usd' THEN :cost WHEN 'tokens' THEN :tokens ELSE :actions
    END,
    overrun = max(
        overrun,
        settled + held - limit_amount + CASE unit
            WHEN 'micro_usd' THEN :cost - :cost_held
            WHEN 'tokens' THEN :tokens - :tokens_held
            ELSE :actions - :actions_held
        END
    )
WHERE id IN (SELECT value FROM json_each(:ids))
RETURNING id, unit, limit_amount, settled + held AS used, resets_at, warned_at

-- Those that are used up; most of the time none is.
-- name: spent_accounts
SELECT id, scope, period, unit, limit_amount, settled, held, overrun, resets_at, warned_at,
    exhausted_at
FROM accounts
WHERE id IN (SELECT value FROM json_each(:ids)) AND settled + held >= limit_amount
ORDER BY id

-- Here and not shared, because the list of accounts comes in as a JSON array, which each database
-- unfolds in its own way.

-- name: balances
SELECT id, unit, limit_amount, settled, held, overrun, resets_at, warned_at
FROM accounts
WHERE id IN (SELECT value FROM json_each(:ids))

-- What the audit compares beside money: latches, breakers, sessions, commands, the ledger's clock.

-- name: session
SELECT worker, window_start, window_end, status, received_note FROM sessions WHERE id = :id

-- name: latches
SELECT scope, is_engaged FROM kill_latches WHERE scope > :after ORDER BY scope

-- name: next_of_latches
SELECT scope AS key FROM kill_latches WHERE scope > :after ORDER BY scope LIMIT 1

-- name: breakers
SELECT name, state, cause, why, retry_at, openings FROM breakers WHERE name > :after ORDER BY name

-- name: next_of_breakers
SELECT name AS key FROM breakers WHERE name > :after ORDER BY name LIMIT 1

-- name: command
SELECT operation FROM commands WHERE id = :id

-- name: commands
SELECT id, content, content_hash FROM commands WHERE id > :after ORDER BY id

-- name: next_of_commands
SELECT id AS key FROM commands WHERE id > :after ORDER BY id LIMIT 1

-- name: ledger_clock
SELECT at, (SELECT coalesce(max(placed_at), 0) FROM holds) AS placed_at
FROM ledger_clock WHERE id = 1

-- Every event in the order of its commit; those that are in an export and on their way out are no
-- more of this store.
-- name: events
SELECT position, session_id, seq, at, kind, actor, correlation_id, command_id, state_bearing,
    payload, hash
FROM events
WHERE position > :after AND session_id NOT IN (SELECT session_id FROM retiring)
ORDER BY position

-- name: next_event
SELECT position AS key FROM events WHERE position > :after ORDER BY position LIMIT 1

-- name: session
SELECT last_seq, last_hash, counters, summary FROM sessions WHERE id = :id

-- name: sessions_without_events
SELECT id AS key FROM sessions
WHERE NOT EXISTS (SELECT 1 FROM events WHERE events.session_id = sessions.id)
    AND id NOT IN (SELECT session_id FROM retiring)
ORDER BY id

-- name: accounts
SELECT id, limit_amount, settled, held, overrun FROM accounts WHERE id > :after ORDER BY id

-- name: next_account
SELECT id AS key FROM accounts WHERE id > :after ORDER BY id LIMIT 1

-- name: hold
SELECT worker, session_id, tick, model, account_ids, status, cost_held, tokens_held, actions_held,
    cost_settled, tokens_settled, actions_settled, org, team, user_id,
    conversation
FROM holds
WHERE id = :id

-- name: count_holds
SELECT count(*) AS number FROM holds WHERE session_id NOT IN (SELECT session_id FROM retiring)

-- name: holds_by_session
SELECT id, session_id FROM holds
WHERE session_id NOT IN (SELECT session_id FROM retiring)
ORDER BY session_id, id

-- name: payloads_of_session
SELECT payload FROM events WHERE session_id = :session_id AND kind = :kind ORDER BY seq

-- name: workers
SELECT name, last_tick FROM workers ORDER BY name

-- name: workers_of_ticks
SELECT DISTINCT worker AS key FROM ticks
WHERE worker NOT IN (SELECT name FROM workers)
ORDER BY worker

-- name: tick
SELECT number, session_id, outcome FROM ticks WHERE worker = :worker AND number = :number

-- name: ticks
SELECT number, session_id, outcome FROM ticks
WHERE worker = :worker AND number > :after
ORDER BY number

-- name: next_tick
SELECT number AS key FROM ticks
WHERE worker = :worker AND number > :after
ORDER BY number
LIMIT 1

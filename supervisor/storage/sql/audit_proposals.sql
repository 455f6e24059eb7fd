-- name: rows_of_proposals
SELECT id, status, hold_id FROM proposals
WHERE id > :after AND session_id NOT IN (SELECT session_id FROM retiring)
ORDER BY id

-- name: next_of_proposals
SELECT id AS key FROM proposals WHERE id > :after ORDER BY id LIMIT 1

-- name: rows_of_tickets
SELECT id, status FROM tickets
WHERE id > :after AND session_id NOT IN (SELECT session_id FROM retiring)
ORDER BY id

-- name: next_of_tickets
SELECT id AS key FROM tickets WHERE id > :after ORDER BY id LIMIT 1

-- name: rows_of_grants
SELECT id, count_used FROM session_grants
WHERE id > :after AND session_id NOT IN (SELECT session_id FROM retiring)
ORDER BY id

-- name: next_of_grants
SELECT id AS key FROM session_grants WHERE id > :after ORDER BY id LIMIT 1

-- name: rows_of_risks
SELECT session_id AS id, level FROM session_risks
WHERE session_id > :after AND session_id NOT IN (SELECT session_id FROM retiring)
ORDER BY session_id

-- name: next_of_risks
SELECT session_id AS key FROM session_risks WHERE session_id > :after ORDER BY session_id LIMIT 1

-- What the audit reads of jobs, of their claims and of how many there are.

-- name: rows
SELECT number, id, queue, payload, state, attempts, attempts_max, token, history, ended_at FROM jobs
WHERE number > :after ORDER BY number

-- name: next_row
SELECT number AS key FROM jobs WHERE number > :after ORDER BY number LIMIT 1

-- name: row_of
SELECT number, id, queue, payload, state, attempts, attempts_max, token, history, ended_at FROM jobs WHERE id = :id

-- name: claims
SELECT token FROM job_claims ORDER BY token

-- name: real_counts
SELECT queue, state, count(*) AS jobs FROM jobs GROUP BY queue, state ORDER BY queue, state

-- name: open_effects
SELECT scope, effect_key, state FROM effects WHERE state <> 'done' ORDER BY scope, effect_key

-- name: done_effects
SELECT count(*) AS effects FROM effects WHERE state = 'done'

-- What is only told has no events.
-- name: progress
SELECT owner, name, done, last_item, kept FROM progress
WHERE name <> '' AND owner || '/' || name > :after
ORDER BY owner || '/' || name

-- name: next_progress
SELECT owner || '/' || name AS key FROM progress
WHERE name <> '' AND owner || '/' || name > :after
ORDER BY owner || '/' || name
LIMIT 1

-- name: progress_of
SELECT owner, name, done, last_item, kept FROM progress WHERE owner = :owner AND name = :name

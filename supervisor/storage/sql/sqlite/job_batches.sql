-- Here and not shared, because the list of jobs comes in as a JSON array, which each database
-- unfolds in its own way.

-- name: take
UPDATE jobs SET state = 'running', token = :token, attempts = attempts + 1, started_at = :now
WHERE state = 'queued' AND id IN (SELECT value FROM json_each(:ids))

-- Only what this claim still has: after it was taken away, no row is changed.
-- name: complete
UPDATE jobs SET state = 'done', token = NULL, is_cancel_asked = 0, error = '', ended_at = :now
WHERE state = 'running' AND token = :token AND id IN (SELECT value FROM json_each(:ids))
RETURNING id

-- Back to where they were before the claim: no attempt is used up.
-- name: give_back
UPDATE jobs SET state = 'queued', token = NULL, attempts = attempts - 1
WHERE state = 'running' AND token = :token AND id IN (SELECT value FROM json_each(:ids))

-- name: stored
SELECT id FROM jobs WHERE id IN (SELECT value FROM json_each(:ids))

-- Named as what is in it: a payload is kept as it came.
-- name: enqueue
INSERT INTO jobs (id, queue, job_key, payload, priority, run_at, state, attempts_max, enqueued_at)
SELECT
    json_extract(value, '$.id'),
    json_extract(value, '$.queue'),
    json_extract(value, '$.job_key'),
    json_extract(value, '$.payload'),
    CAST(json_extract(value, '$.priority') AS BIGINT),
    CAST(json_extract(value, '$.run_at') AS BIGINT),
    json_extract(value, '$.state'),
    CAST(json_extract(value, '$.attempts_max') AS BIGINT),
    CAST(json_extract(value, '$.now') AS BIGINT)
FROM json_each(:payload)
WHERE true
ON CONFLICT (id) DO NOTHING
RETURNING id

-- Here and not shared, because the list of jobs comes in as a JSON array, which each database
-- unfolds in its own way.

-- name: take
UPDATE jobs SET state = 'running', token = :token, attempts = attempts + 1, started_at = :now
WHERE state = 'queued' AND id = ANY (ARRAY(SELECT json_array_elements_text(CAST(:ids AS JSON))))

-- Only what this claim still has: after it was taken away, no row is changed.
-- name: complete
UPDATE jobs SET state = 'done', token = NULL, is_cancel_asked = 0, error = '', ended_at = :now
WHERE state = 'running' AND token = :token AND id = ANY (ARRAY(SELECT json_array_elements_text(CAST(:ids AS JSON))))
RETURNING id

-- Back to where they were before the claim: no attempt is used up.
-- name: give_back
UPDATE jobs SET state = 'queued', token = NULL, attempts = attempts - 1
WHERE state = 'running' AND token = :token AND id = ANY (ARRAY(SELECT json_array_elements_text(CAST(:ids AS JSON))))

-- name: stored
SELECT id FROM jobs WHERE id = ANY (ARRAY(SELECT json_array_elements_text(CAST(:ids AS JSON))))

-- Named as what is in it: a payload is kept as it came.
-- name: enqueue
INSERT INTO jobs (id, queue, job_key, payload, priority, run_at, state, attempts_max, enqueued_at)
SELECT
    value ->> 'id',
    value ->> 'queue',
    value ->> 'job_key',
    value ->> 'payload',
    CAST(value ->> 'priority' AS BIGINT),
    CAST(value ->> 'run_at' AS BIGINT),
    value ->> 'state',
    CAST(value ->> 'attempts_max' AS BIGINT),
    CAST(value ->> 'now' AS BIGINT)
FROM json_array_elements(CAST(:payload AS JSON))
WHERE true
ON CONFLICT (id) DO NOTHING
RETURNING id

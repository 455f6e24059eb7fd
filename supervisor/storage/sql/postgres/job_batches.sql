-- Here and not shared, because the list of jobs comes in as a JSON array, which each database
-- unfolds in its own way.

-- name: take
UPDATE jobs SET state = 'running', token = :token, attempts = attempts + 1, started_at = :now
WHERE state = 'queued' AND id = ANY (ARRAY(SELECT json_array_elements_text(CAST(:ids AS JSON))))

-- Only what this claim still has: after it was taken away, no row is changed.
-- name: complete
UPDATE jobs SET state = 'done', token = NULL, is_cancel_asked = 0, error = '', ended_at = :now
WHERE state = 'running' AND token = :token AND id = ANY (ARRAY(SELECT json_array_elements_text(CAST(:ids AS JSON))))

-- Back to where they were before the claim: no attempt is used up.
-- name: give_back
UPDATE jobs SET state = 'queued', token = NULL, attempts = attempts - 1
WHERE state = 'running' AND token = :token AND id = ANY (ARRAY(SELECT json_array_elements_text(CAST(:ids AS JSON))))

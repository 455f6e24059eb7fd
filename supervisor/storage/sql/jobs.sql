-- name: by_id
SELECT number, id, queue, job_key, payload, priority, run_at, state, attempts, attempts_max, token,
    is_cancel_asked, error, history, enqueued_at, started_at, ended_at
FROM jobs WHERE id = :id

-- name: payload
SELECT payload FROM jobs WHERE id = :id

-- Here and below, what no row of ours says is left out: a damaged one must not stop the others.
-- What is due becomes claimable; a bounded number at a time.
-- name: promote
UPDATE jobs SET state = 'queued'
WHERE number IN (
    SELECT number FROM jobs
    WHERE state = 'scheduled' AND queue = :queue AND run_at <= :now
        AND token IS NULL AND ended_at IS NULL
    ORDER BY run_at
    LIMIT :rows_max
)

-- name: candidates
SELECT number, id, payload, attempts, attempts_max
FROM jobs
WHERE state = 'queued' AND queue = :queue AND token IS NULL AND ended_at IS NULL
ORDER BY priority DESC, run_at, number
LIMIT :rows_max

-- name: begin_claim
INSERT INTO job_claims (queue, boot_id, worker, tick, session_id, lease_us, claimed_at)
VALUES (:queue, :boot_id, :worker, :tick, :session_id, :lease_us, :now)
RETURNING token

-- name: claim
SELECT token, queue, boot_id, worker, tick, session_id, lease_us, beats
FROM job_claims WHERE token = :token

-- name: end_claim
DELETE FROM job_claims WHERE token = :token

-- Those of lives that are over, a page at a time.
-- name: orphaned_claims
SELECT token, queue, boot_id, worker, tick, session_id, lease_us, beats
FROM job_claims
WHERE boot_id <> :boot_id
    AND boot_id NOT IN (SELECT boot_id FROM daemons WHERE stopped_at IS NULL)
ORDER BY token
LIMIT :rows_max

-- name: jobs_of_claim
SELECT id, state, attempts, attempts_max, run_at, is_cancel_asked, error, history, ended_at
FROM jobs WHERE state = 'running' AND token = :token AND ended_at IS NULL
ORDER BY number

-- A running job leaves its claim; `attempts` is what it has used up by now.
-- name: leave
UPDATE jobs SET
    state = :state,
    attempts = :attempts,
    run_at = :run_at,
    token = NULL,
    is_cancel_asked = 0,
    error = :error,
    history = :history,
    ended_at = :ended_at
WHERE id = :id AND token = :token AND state = 'running'

-- name: count
SELECT queue, state, jobs FROM job_counts WHERE queue = :queue AND state = :state

-- name: keep_count
INSERT INTO job_counts (queue, state, jobs) VALUES (:queue, :state, :jobs)
ON CONFLICT (queue, state) DO UPDATE SET jobs = excluded.jobs

-- name: first_queued
SELECT run_at AS at FROM jobs WHERE state = 'queued' AND queue = :queue LIMIT 1

-- name: first_scheduled
SELECT run_at AS at FROM jobs WHERE state = 'scheduled' AND queue = :queue ORDER BY run_at LIMIT 1

-- name: counts
SELECT queue, state, jobs FROM job_counts WHERE jobs <> 0 ORDER BY queue, state

-- A job that does not run is moved by a person.
-- name: move
UPDATE jobs SET state = :state, attempts = :attempts, run_at = :run_at, ended_at = :ended_at
WHERE id = :id AND state = :before

-- name: ask_cancel
UPDATE jobs SET is_cancel_asked = 1 WHERE id = :id AND state = 'running'

-- The newest first; a filter that is empty lets all through.
-- name: page
SELECT number, id, queue, job_key, '' AS payload, priority, run_at, state, attempts, attempts_max,
    token, is_cancel_asked, error, '[]' AS history, enqueued_at, started_at, ended_at
FROM jobs
WHERE (:queue = '' OR queue = :queue) AND (:state = '' OR state = :state)
ORDER BY number DESC
LIMIT :rows_max

-- name: renew
UPDATE job_claims SET beats = beats + 1 WHERE boot_id = :boot_id
RETURNING token

-- name: claims_of_others
SELECT token, queue, boot_id, worker, tick, session_id, lease_us, beats
FROM job_claims WHERE boot_id <> :boot_id ORDER BY token

-- Of a daemon's jobs, those that a person wants to end.
-- name: cancels
SELECT jobs.id, jobs.token
FROM jobs JOIN job_claims ON job_claims.token = jobs.token
WHERE jobs.state = 'running' AND jobs.is_cancel_asked = 1 AND job_claims.boot_id = :boot_id

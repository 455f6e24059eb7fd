-- Deleting what ended before a cut, a page at a time, and that nobody needs any more.

-- name: jobs_after
SELECT number, enqueued_at FROM jobs WHERE number > :after ORDER BY number LIMIT :rows_max

-- Not one that is dead or waits for a person: it stays until that is decided.
-- name: count_jobs
SELECT queue, state, count(*) AS jobs FROM jobs
WHERE number > :after AND number <= :until
    AND state IN ('done', 'cancelled', 'discarded') AND ended_at < :cut_at
    AND NOT EXISTS (
        SELECT 1 FROM effects WHERE effects.state = 'unknown' AND effects.job = jobs.id
    )
GROUP BY queue, state

-- The same ones as count_jobs counts.
-- name: drop_jobs
DELETE FROM jobs
WHERE number > :after AND number <= :until
    AND state IN ('done', 'cancelled', 'discarded') AND ended_at < :cut_at
    AND NOT EXISTS (
        SELECT 1 FROM effects WHERE effects.state = 'unknown' AND effects.job = jobs.id
    )

-- A key guards as long as its job is there, and for that long after it was asked for last.
-- name: drop_effects
DELETE FROM effects
WHERE (scope, effect_key) IN (
    SELECT scope, effect_key FROM effects
    WHERE state = 'done' AND asked_at < :cut_at
        AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = effects.job)
    ORDER BY asked_at
    LIMIT :rows_max
)

-- Of jobs that are gone, and of ticks that are.
-- name: drop_progress
DELETE FROM progress
WHERE (owner, name) IN (
    SELECT owner, name FROM progress
    WHERE at < :cut_at AND CASE
        WHEN job = '' THEN NOT EXISTS (
            SELECT 1 FROM ticks
            WHERE ticks.worker = progress.worker AND ticks.number = progress.tick
        )
        ELSE NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = progress.job)
    END
    LIMIT :rows_max
)

-- What every channel has taken, and what no incident that is kept was noted about.
-- name: old_alerts
SELECT id FROM alerts
WHERE resolved_at < :cut_at
    AND NOT EXISTS (
        SELECT 1 FROM alert_messages
        WHERE alert_messages.alert_id = alerts.id AND alert_messages.delivered_at IS NULL
    )
    AND NOT EXISTS (SELECT 1 FROM incident_notes WHERE incident_notes.alert_id = alerts.id)
ORDER BY raised_at, id
LIMIT :rows_max

-- name: drop_alert_messages
DELETE FROM alert_messages WHERE alert_id = :id

-- name: drop_alert
DELETE FROM alerts WHERE id = :id

-- name: old_incidents
SELECT id FROM incidents WHERE closed_at < :cut_at ORDER BY closed_at, id LIMIT :rows_max

-- name: drop_incident_notes
DELETE FROM incident_notes WHERE incident_id = :id

-- name: drop_incident
DELETE FROM incidents WHERE id = :id

-- Of a worker that is gone: of one that works, the newest ones stay, however old they are.
-- name: drop_outputs
DELETE FROM outputs
WHERE published_at < :cut_at
    AND NOT EXISTS (SELECT 1 FROM ticks WHERE ticks.worker = outputs.worker)

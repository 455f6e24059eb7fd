-- name: alarms
SELECT
    (SELECT count(*) FROM kill_latches WHERE is_engaged = 1) AS latches,
    (SELECT count(*) FROM breakers
        WHERE name IN (:breaker, :provider, :system) AND (state <> 'closed' OR failures > 0)
    ) AS breakers,
    (SELECT at FROM ledger_clock WHERE id = 1) AS ledger_at

-- name: engaged_latches
SELECT scope, is_engaged, actor, why, at FROM kill_latches WHERE is_engaged = 1 ORDER BY scope

-- name: latch
SELECT scope, is_engaged, actor, why, at FROM kill_latches WHERE scope = :scope

-- name: set_latch
INSERT INTO kill_latches (scope, is_engaged, actor, why, at)
VALUES (:scope, :is_engaged, :actor, :why, :now)
ON CONFLICT (scope) DO UPDATE SET
    is_engaged = excluded.is_engaged,
    actor = excluded.actor,
    why = excluded.why,
    at = excluded.at

-- A probe that has ended without a verdict runs no more: its place is free.
-- name: breaker
SELECT name, state, cause, why, changed_at, retry_at, openings, failures,
    probe_worker, probe_tick, probe_hold,
    CASE WHEN EXISTS (
        SELECT 1 FROM ticks
        WHERE worker = probe_worker AND number = probe_tick AND outcome IS NULL
    ) THEN 1 ELSE 0 END AS is_tick_running,
    CASE WHEN EXISTS (
        SELECT 1 FROM holds WHERE id = probe_hold AND status = 'open'
    ) THEN 1 ELSE 0 END AS is_hold_open
FROM breakers
WHERE name = :name

-- name: breakers
SELECT name, state, cause, why, changed_at, retry_at, openings, failures,
    probe_worker, probe_tick, probe_hold,
    CASE WHEN EXISTS (
        SELECT 1 FROM ticks
        WHERE worker = probe_worker AND number = probe_tick AND outcome IS NULL
    ) THEN 1 ELSE 0 END AS is_tick_running,
    CASE WHEN EXISTS (
        SELECT 1 FROM holds WHERE id = probe_hold AND status = 'open'
    ) THEN 1 ELSE 0 END AS is_hold_open
FROM breakers
ORDER BY name

-- name: watched_breakers
SELECT name, state, cause, why, changed_at, retry_at, openings, failures,
    probe_worker, probe_tick, probe_hold,
    CASE WHEN EXISTS (
        SELECT 1 FROM ticks
        WHERE worker = probe_worker AND number = probe_tick AND outcome IS NULL
    ) THEN 1 ELSE 0 END AS is_tick_running,
    CASE WHEN EXISTS (
        SELECT 1 FROM holds WHERE id = probe_hold AND status = 'open'
    ) THEN 1 ELSE 0 END AS is_hold_open
FROM breakers
WHERE name IN (:worker, :provider, :system) AND (state <> 'closed' OR failures > 0)
ORDER BY name

-- name: set_breaker
INSERT INTO breakers (
    name, state, cause, why, changed_at, retry_at, openings, failures, probe_worker, probe_tick,
    probe_hold
) VALUES (
    :name, :state, :cause, :why, :changed_at, :retry_at, :openings, :failures, :probe_worker,
    :probe_tick, :probe_hold
)
ON CONFLICT (name) DO UPDATE SET
    state = excluded.state,
    cause = excluded.cause,
    why = excluded.why,
    changed_at = excluded.changed_at,
    retry_at = excluded.retry_at,
    openings = excluded.openings,
    failures = excluded.failures,
    probe_worker = excluded.probe_worker,
    probe_tick = excluded.probe_tick,
    probe_hold = excluded.probe_hold

-- name: command
SELECT id, operation, content, result FROM commands WHERE id = :id

-- name: record_command
INSERT INTO commands (id, operation, content, content_hash, result, at)
VALUES (:id, :operation, :content, :content_hash, :result, :now)

-- name: keep_checkpoint
INSERT INTO checkpoints (id, worker, label, session_id, event_seq, tick, state, created_at)
VALUES (:id, :worker, :label, :session_id, :event_seq, :tick, :state, :now)
ON CONFLICT (id) DO NOTHING

-- name: checkpoint
SELECT id, worker, label, session_id, event_seq, tick, state, created_at
FROM checkpoints WHERE id = :id

-- The newest first; the states themselves stay where they are.
-- name: checkpoints
SELECT id, worker, label, session_id, event_seq, tick, '' AS state, created_at
FROM checkpoints WHERE worker = :worker
ORDER BY created_at DESC, tick DESC
LIMIT :rows_max

-- name: newest
SELECT coalesce(max(position), 0) AS position FROM events

-- Of the events since a position: how many can turn a gate's no into a yes.
-- name: news
SELECT
    coalesce(max(position), :seen) AS position,
    coalesce(sum(CASE WHEN kind IN (
        'kill_switch_released', 'session_resumed', 'account_limit_changed', 'hold_reconciled',
        'configuration_changed', 'approval_granted', 'approval_denied', 'breaker_closed'
    ) THEN 1 ELSE 0 END), 0) AS openings
FROM events
WHERE position > :seen

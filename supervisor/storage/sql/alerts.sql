-- name: cursor
SELECT position FROM alert_cursor WHERE id = 1

-- name: move_cursor
UPDATE alert_cursor SET position = :position WHERE id = 1

-- name: newest
SELECT COALESCE(MAX(position), 0) AS position FROM events

-- The kinds are those of alerts/facts.py (`WATCHED`).
-- name: matching
SELECT position, kind, payload
FROM events
WHERE position > :position AND kind IN (
    'account_overrun', 'approval_timed_out', 'breaker_closed', 'breaker_opened',
    'budget_exhausted', 'budget_warning', 'cycle_recovered', 'daemon_died', 'drill_failed',
    'drill_passed', 'effect_unknown', 'guardrail_output', 'job_dead_lettered', 'kill_switch_engaged',
    'kill_switch_released', 'loop_blocked', 'memory_exceeded', 'session_risk_escalated',
    'session_stuck', 'token_budget_exhausted', 'worker_failed'
)
ORDER BY position
LIMIT :rows_max

-- name: one
SELECT id, key, severity, title, what, done, command, count, reminders, raised_at, last_at,
    until_at, remind_at, acknowledged_at, acknowledged_by, resolved_at, resolved_why
FROM alerts
WHERE id = :id

-- name: latest
SELECT id, key, severity, title, what, done, command, count, reminders, raised_at, last_at,
    until_at, remind_at, acknowledged_at, acknowledged_by, resolved_at, resolved_why
FROM alerts
WHERE key = :key
-- Of those of one moment the one that is open comes last: at most one is.
ORDER BY raised_at DESC, CASE WHEN resolved_at IS NULL THEN 0 ELSE 1 END, id DESC
LIMIT 1

-- name: open
SELECT id, key, severity, title, what, done, command, count, reminders, raised_at, last_at,
    until_at, remind_at, acknowledged_at, acknowledged_by, resolved_at, resolved_why
FROM alerts
WHERE resolved_at IS NULL
ORDER BY raised_at, id

-- name: newest_ones
SELECT id, key, severity, title, what, done, command, count, reminders, raised_at, last_at,
    until_at, remind_at, acknowledged_at, acknowledged_by, resolved_at, resolved_why
FROM alerts
ORDER BY raised_at DESC, id DESC
LIMIT :rows_max

-- name: raise
INSERT INTO alerts (
    id, key, severity, title, what, done, command, count, reminders, raised_at, last_at,
    until_at, remind_at, acknowledged_at, acknowledged_by, resolved_at, resolved_why
) VALUES (
    :id, :key, :severity, :title, :what, :done, :command, :count, :reminders, :raised_at, :last_at,
    :until_at, :remind_at, :acknowledged_at, :acknowledged_by, :resolved_at, :resolved_why
)

-- name: again
UPDATE alerts SET count = count + 1, last_at = :now WHERE id = :id

-- name: remind
UPDATE alerts SET reminders = reminders + 1, remind_at = :remind_at WHERE id = :id

-- name: resolve
UPDATE alerts SET resolved_at = :now, resolved_why = :why, remind_at = NULL WHERE id = :id

-- name: acknowledge
UPDATE alerts SET acknowledged_at = :now, acknowledged_by = :by, remind_at = NULL WHERE id = :id

-- name: tell
INSERT INTO alert_messages (id, alert_id, channel, severity_rank, body, told_at, next_at)
VALUES (:id, :alert_id, :channel, :severity_rank, :body, :now, 0)

-- name: waiting_channels
SELECT DISTINCT channel FROM alert_messages WHERE alert_id = :id AND delivered_at IS NULL

-- The oldest that the channel may be told now, and only once nobody tries an older one: a channel
-- learns of things in their order.
-- name: claim
UPDATE alert_messages SET next_at = :until, attempts = attempts + 1
WHERE delivered_at IS NULL AND next_at <= :now AND id = (
    SELECT id FROM alert_messages
    WHERE channel = :channel AND delivered_at IS NULL AND severity_rank >= :rank_min
    ORDER BY told_at, id
    LIMIT 1
)
RETURNING id, body, attempts

-- name: waits
SELECT 1 AS position
FROM alert_messages
WHERE channel = :channel AND delivered_at IS NULL AND severity_rank >= :rank_min
LIMIT 1

-- name: delivered
UPDATE alert_messages SET delivered_at = :now, last_error = ''
WHERE id = :id AND delivered_at IS NULL

-- name: failed
UPDATE alert_messages SET next_at = 0, last_error = :error
WHERE id = :id AND delivered_at IS NULL

-- name: undelivered
SELECT COUNT(*) AS count, MIN(told_at) AS oldest_at
FROM alert_messages
WHERE delivered_at IS NULL

-- name: messages_of
SELECT channel, body, told_at, attempts, last_error, delivered_at
FROM alert_messages
WHERE alert_id = :id
ORDER BY told_at, id

-- How often a kind came by age, in spans of :part before :until. The events' time is their place,
-- near enough: of the newest ones alone it is asked.
-- name: counted
SELECT (:until - 1 - at) / :part AS age, COUNT(*) AS events
FROM events
WHERE position > (SELECT COALESCE(MAX(position), 0) FROM events) - :events_max
    AND kind = :kind AND at >= :since AND at < :until
GROUP BY age

-- name: oldest_counted
SELECT at
FROM events
WHERE position > (SELECT MAX(position) FROM events) - :events_max
ORDER BY position
LIMIT 1

-- name: lives
SELECT started_at, heartbeat_at
FROM daemons
WHERE heartbeat_at >= :since
ORDER BY heartbeat_at DESC, started_at DESC
LIMIT :rows_max

-- name: head
SELECT last_seq, last_hash, counters, summary IS NOT NULL AS is_sealed
FROM sessions WHERE id = :session_id

-- name: append
INSERT INTO events (
    session_id, seq, at, kind, actor, correlation_id, command_id, state_bearing, payload, hash
) VALUES (
    :session_id, :seq, :at, :kind, :actor, :correlation_id, :command_id, :state_bearing,
    :payload, :hash
)

-- name: advance
UPDATE sessions SET last_seq = :last_seq, last_hash = :last_hash, counters = :counters
WHERE id = :session_id AND summary IS NULL

-- Every filter that is NULL lets all rows through; the page ends at :rows_max.
-- name: after
SELECT position, session_id, seq, at, kind, actor, correlation_id, command_id, state_bearing,
    payload, hash
FROM events
WHERE position > :position
    AND (:session_id IS NULL OR session_id = :session_id)
    AND (:worker IS NULL OR session_id IN (SELECT id FROM sessions WHERE worker = :worker))
    AND (:kind IS NULL OR kind = :kind)
    AND (:correlation_id IS NULL OR correlation_id = :correlation_id)
    AND (:since IS NULL OR at >= :since)
ORDER BY position
LIMIT :rows_max

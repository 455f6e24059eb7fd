-- For `supervisor events`. Every filter that is NULL lets all rows through, as in events.after.
-- name: next_event
SELECT position AS key
FROM events
WHERE position > :position
    AND (:session_id IS NULL OR session_id = :session_id)
    AND (:worker IS NULL OR session_id IN (SELECT id FROM sessions WHERE worker = :worker))
    AND (:kind IS NULL OR kind = :kind)
    AND (:correlation_id IS NULL OR correlation_id = :correlation_id)
    AND (:since IS NULL OR at >= :since)
ORDER BY position
LIMIT 1

-- The newest :rows_max of them, the newest first.
-- name: newest_events
SELECT position AS key
FROM events
WHERE (:session_id IS NULL OR session_id = :session_id)
    AND (:worker IS NULL OR session_id IN (SELECT id FROM sessions WHERE worker = :worker))
    AND (:kind IS NULL OR kind = :kind)
    AND (:correlation_id IS NULL OR correlation_id = :correlation_id)
    AND (:since IS NULL OR at >= :since)
ORDER BY position DESC
LIMIT :rows_max

-- Here, because Postgres must be told the type of a parameter that may be NULL.

-- name: after
SELECT position, session_id, seq, at, kind, actor, correlation_id, command_id, state_bearing,
    payload, hash
FROM events
WHERE position > :position
    AND (CAST(:session_id AS TEXT) IS NULL OR session_id = :session_id)
    AND (
        CAST(:worker AS TEXT) IS NULL
        OR session_id IN (SELECT id FROM sessions WHERE worker = :worker)
    )
    AND (CAST(:kind AS TEXT) IS NULL OR kind = :kind)
    AND (CAST(:correlation_id AS TEXT) IS NULL OR correlation_id = :correlation_id)
    AND (CAST(:since AS BIGINT) IS NULL OR at >= :since)
ORDER BY position
LIMIT :rows_max

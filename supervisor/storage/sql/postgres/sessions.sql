-- Here, because Postgres must be told the type of a parameter that may be NULL.

-- name: page
SELECT id, worker, window_start, window_end, execution_mode, status, why, opened_at, closed_at,
    received_note, handoff_note, last_seq, last_hash, counters, summary
FROM sessions
WHERE (CAST(:worker AS TEXT) IS NULL OR worker = :worker)
ORDER BY opened_at DESC, id
LIMIT :rows_max

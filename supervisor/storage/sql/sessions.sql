-- Without what its events add up to: that changes with each of them.
-- name: by_id
SELECT id, worker, window_start, window_end, execution_mode, status, why, opened_at, closed_at,
    received_note, handoff_note, summary
FROM sessions
WHERE id = :id

-- name: open_of_worker
SELECT id, worker, window_start, window_end, execution_mode, status, why, opened_at, closed_at,
    received_note, handoff_note, summary
FROM sessions
WHERE worker = :worker AND status IN ('created', 'active', 'paused')

-- By worker, as each has one at most: the index of the open ones has that order, and no others.
-- name: open_ones
SELECT id, worker, window_start, window_end, execution_mode, status, why, opened_at, closed_at,
    received_note, handoff_note, last_seq, last_hash, counters, summary
FROM sessions
WHERE status IN ('created', 'active', 'paused')
ORDER BY worker

-- name: open_page
SELECT id, worker, window_start, window_end, execution_mode, status, why, opened_at, closed_at,
    received_note, handoff_note, last_seq, last_hash, counters, summary
FROM sessions
WHERE status IN ('created', 'active', 'paused') AND worker > :after
ORDER BY worker
LIMIT :rows_max

-- How far each open session has come.
-- name: open_heads
SELECT id, last_seq FROM sessions WHERE status IN ('created', 'active', 'paused')

-- name: page
SELECT id, worker, window_start, window_end, execution_mode, status, why, opened_at, closed_at,
    received_note, handoff_note, last_seq, last_hash, counters, summary
FROM sessions
WHERE (:worker IS NULL OR worker = :worker)
ORDER BY opened_at DESC, id
LIMIT :rows_max

-- name: with_totals
SELECT id, worker, window_start, window_end, execution_mode, status, why, opened_at, closed_at,
    received_note, handoff_note, last_seq, last_hash, counters, summary
FROM sessions
WHERE id = :id

-- name: opened
SELECT opened_at AS at FROM sessions WHERE id = :id

-- name: latest_window
SELECT window_end FROM sessions
WHERE worker = :worker AND window_start <= :now
ORDER BY window_start DESC
LIMIT 1

-- name: latest_of_worker
SELECT id, worker, window_start, window_end, execution_mode, status, why, opened_at, closed_at,
    received_note, handoff_note, summary
FROM sessions
WHERE worker = :worker
ORDER BY window_start DESC
LIMIT 1

-- name: open
INSERT INTO sessions (
    id, worker, window_start, window_end, execution_mode, status, opened_at, received_note
) VALUES (
    :id, :worker, :window_start, :window_end, :execution_mode, 'created', :now, :received_note
)

-- name: move
UPDATE sessions SET status = :status, why = :why WHERE id = :id

-- The last hash goes into the summary, so that the seal binds every event before it.
-- name: seal
UPDATE sessions SET status = :status, why = :why, closed_at = :now, summary = :summary
WHERE id = :id

-- name: hand_off
UPDATE sessions SET handoff_note = :note WHERE id = :id

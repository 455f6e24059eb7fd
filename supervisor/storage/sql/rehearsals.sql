-- name: ask
INSERT INTO drills (id, drill, status, actor, asked_at)
VALUES (:id, :drill, :status, :actor, :now)

-- name: by_id
SELECT id, drill, status, actor, boot_id, asked_at, ended_at, measured_us, what
FROM drills WHERE id = :id

-- The oldest first.
-- name: under_way
SELECT id, drill, status, actor, boot_id, asked_at, ended_at, measured_us, what
FROM drills
WHERE drill = :drill AND ended_at IS NULL
ORDER BY asked_at, id

-- Only one daemon takes it up.
-- name: take_up
UPDATE drills SET status = 'running', boot_id = :boot_id
WHERE id = :id AND status = 'requested'

-- name: finish
UPDATE drills SET status = :status, ended_at = :now, measured_us = :measured_us, what = :what
WHERE id = :id AND ended_at IS NULL

-- name: last_passes
SELECT drill, max(ended_at) AS at FROM drills WHERE status = 'passed' GROUP BY drill ORDER BY drill

-- name: last_end
SELECT id, drill, status, actor, boot_id, asked_at, ended_at, measured_us, what
FROM drills
WHERE drill = :drill AND ended_at IS NOT NULL
ORDER BY ended_at DESC, id
LIMIT 1

-- The canary's ticks that began since a moment, the oldest first.
-- name: ticks_of
SELECT number, outcome, why, boot_id FROM ticks
WHERE worker = :worker AND number > :after
ORDER BY number

-- name: last_tick
SELECT coalesce(max(number), 0) AS number FROM ticks WHERE worker = :worker

-- name: holds_of
SELECT count(*) AS placed, coalesce(sum(CASE WHEN status = 'open' THEN 1 ELSE 0 END), 0) AS left_open
FROM holds
WHERE worker = :worker AND tick = :tick

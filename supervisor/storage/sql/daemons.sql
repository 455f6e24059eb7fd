-- name: started
INSERT INTO daemons (boot_id, pid, host, started_at, heartbeat_at, state)
VALUES (:boot_id, :pid, :host, :now, :now, 'starting')

-- One that was taken for dead, and is not, says so.
-- name: beat
UPDATE daemons SET heartbeat_at = :now, state = :state, stopped_at = NULL WHERE boot_id = :boot_id

-- name: stopped
UPDATE daemons SET heartbeat_at = :now, stopped_at = :now, state = 'stopped'
WHERE boot_id = :boot_id

-- name: latest
SELECT boot_id, pid, host, started_at, heartbeat_at, stopped_at, state
FROM daemons ORDER BY started_at DESC LIMIT 1

-- name: by_boot
SELECT boot_id, pid, host, started_at, heartbeat_at, stopped_at, state
FROM daemons WHERE boot_id = :boot_id

-- Every other life that has not said that it ended.
-- name: others
SELECT boot_id, host, pid, heartbeat_at FROM daemons
WHERE stopped_at IS NULL AND boot_id <> :boot_id
ORDER BY boot_id

-- name: died
UPDATE daemons SET stopped_at = :now, state = 'died'
WHERE boot_id = :boot_id AND stopped_at IS NULL

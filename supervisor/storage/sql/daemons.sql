-- name: started
INSERT INTO daemons (boot_id, pid, host, started_at, heartbeat_at, state)
VALUES (:boot_id, :pid, :host, :now, :now, 'starting')

-- name: beat
UPDATE daemons SET heartbeat_at = :now, state = :state WHERE boot_id = :boot_id

-- name: stopped
UPDATE daemons SET heartbeat_at = :now, stopped_at = :now, state = 'stopped'
WHERE boot_id = :boot_id

-- name: latest
SELECT boot_id, pid, host, started_at, heartbeat_at, stopped_at, state
FROM daemons ORDER BY started_at DESC LIMIT 1

-- name: by_boot
SELECT boot_id, pid, host, started_at, heartbeat_at, stopped_at, state
FROM daemons WHERE boot_id = :boot_id

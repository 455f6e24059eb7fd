-- name: find
SELECT owner, name, job, worker, tick, done, total, last_item, item, kept, began_at, began_done, at
FROM progress WHERE owner = :owner AND name = :name

-- name: of_owner
SELECT owner, name, job, worker, tick, done, total, last_item, item, kept, began_at, began_done, at
FROM progress WHERE owner = :owner ORDER BY name

-- name: loops
SELECT count(*) AS number FROM progress WHERE owner = :owner AND name <> :name AND name <> ''

-- name: runs_job
SELECT 1 AS number FROM jobs WHERE id = :job AND token = :token AND state = 'running'

-- name: runs_tick
SELECT 1 AS number FROM ticks WHERE worker = :worker AND number = :tick AND outcome IS NULL

-- What a worker's tick was at is over once a tick has ended well since.
-- name: forget_ended
DELETE FROM progress
WHERE owner = :owner AND EXISTS (
    SELECT 1 FROM ticks
    WHERE ticks.worker = progress.worker AND ticks.number >= progress.tick
        AND ticks.outcome IN ('ok', 'noop')
)

-- name: forget
DELETE FROM progress WHERE owner = :owner

-- name: begin
INSERT INTO progress (
    owner, name, job, worker, tick, done, total, last_item, kept, began_at, began_done, at
) VALUES (
    :owner, :name, :job, :worker, :tick, :done, :total, :last_item, :kept, :now, :done, :now
)
ON CONFLICT (owner, name) DO UPDATE SET
    worker = excluded.worker,
    tick = excluded.tick,
    done = excluded.done,
    total = excluded.total,
    last_item = excluded.last_item,
    item = '',
    kept = excluded.kept,
    began_at = excluded.began_at,
    began_done = excluded.began_done,
    at = excluded.at

-- One item at a time, in order.
-- name: advance
UPDATE progress SET
    done = :done, total = :total, last_item = :last_item, item = '', kept = :kept, at = :now
WHERE owner = :owner AND name = :name AND done = :done - 1

-- name: name_item
UPDATE progress SET item = :item
WHERE owner = :owner AND name = :name AND done = :done AND worker = :worker AND tick = :tick

-- What a worker says of a tick; its pace is that of one and the same tick.
-- name: tell
INSERT INTO progress (
    owner, name, job, worker, tick, done, total, item, began_at, began_done, at
) VALUES (
    :owner, '', :job, :worker, :tick, :done, :total, :item, :now, :done, :now
)
ON CONFLICT (owner, name) DO UPDATE SET
    worker = excluded.worker,
    tick = excluded.tick,
    done = excluded.done,
    total = excluded.total,
    item = excluded.item,
    began_at = CASE
        WHEN progress.worker = excluded.worker AND progress.tick = excluded.tick
        THEN progress.began_at ELSE excluded.began_at
    END,
    began_done = CASE
        WHEN progress.worker = excluded.worker AND progress.tick = excluded.tick
        THEN progress.began_done ELSE excluded.began_done
    END,
    at = excluded.at

-- What is at work now; of a tick's jobs, the one that runs.
-- name: running
SELECT progress.owner, progress.name, progress.job, progress.worker, progress.tick, progress.done,
    progress.total, progress.last_item, progress.item, progress.kept, progress.began_at,
    progress.began_done, progress.at, ticks.boot_id
FROM ticks JOIN progress ON progress.worker = ticks.worker AND progress.tick = ticks.number
WHERE ticks.outcome IS NULL AND (
    progress.job = ''
    OR EXISTS (SELECT 1 FROM jobs WHERE jobs.id = progress.job AND jobs.state = 'running')
)
ORDER BY progress.worker, progress.at DESC, progress.owner, progress.name
LIMIT :rows_max

-- What a worker's next tick goes on with: no tick runs, and none has ended well since.
-- name: left
SELECT progress.owner, progress.name, progress.job, progress.worker, progress.tick, progress.done,
    progress.total, progress.last_item, progress.item, progress.kept, progress.began_at,
    progress.began_done, progress.at
FROM workers JOIN progress ON progress.owner = 'worker:' || workers.name
WHERE progress.name <> '' AND progress.done > 0 AND NOT EXISTS (
    SELECT 1 FROM ticks
    WHERE ticks.worker = progress.worker AND ticks.number >= progress.tick
        AND (ticks.outcome IS NULL OR ticks.outcome IN ('ok', 'noop'))
)
ORDER BY progress.worker, progress.at DESC, progress.name
LIMIT :rows_max

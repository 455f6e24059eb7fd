-- name: register
INSERT INTO workers (name, life) VALUES (:name, :life)
ON CONFLICT (name) DO UPDATE SET life = excluded.life, why = ''

-- name: set_life
UPDATE workers SET life = :life, why = :why WHERE name = :name

-- name: by_name
SELECT name, life, why, session_id, last_tick, last_outcome, last_progress_at, state,
    ticks_since_checkpoint, last_call, repeats
FROM workers WHERE name = :name

-- `last_why` is that of the last tick that has ended.
-- name: all
SELECT name, life, why, session_id, last_tick, last_outcome, last_progress_at, state,
    coalesce(
        (
            SELECT ticks.why FROM ticks
            WHERE ticks.worker = workers.name AND ticks.outcome IS NOT NULL
            ORDER BY ticks.number DESC LIMIT 1
        ), ''
    ) AS last_why
FROM workers ORDER BY name

-- Only the next number: no tick is counted twice.
-- name: count_tick
UPDATE workers SET last_tick = :number, session_id = :session_id
WHERE name = :name AND last_tick = :number - 1

-- name: begin_tick
INSERT INTO ticks (worker, number, session_id, boot_id, started_at)
VALUES (:worker, :number, :session_id, :boot_id, :now)

-- name: skip_tick
INSERT INTO ticks (worker, number, session_id, boot_id, started_at, ended_at, outcome, why)
VALUES (:worker, :number, :session_id, :boot_id, :now, :now, 'skipped', :why)

-- name: end_tick
UPDATE ticks SET ended_at = :now, outcome = :outcome, why = :why
WHERE worker = :worker AND number = :number AND outcome IS NULL

-- Those whose latest tick is of another daemon that goes on.
-- name: elsewhere
SELECT workers.name
FROM workers
JOIN ticks ON ticks.worker = workers.name AND ticks.number = workers.last_tick
JOIN daemons ON daemons.boot_id = ticks.boot_id
WHERE daemons.stopped_at IS NULL AND daemons.boot_id <> :boot_id

-- name: tick
SELECT outcome FROM ticks WHERE worker = :worker AND number = :number

-- name: skipped
UPDATE workers SET life = 'running', why = '', last_outcome = 'skipped', last_progress_at = :now
WHERE name = :name

-- A state that is NULL was not committed by the tick and stays as it was.
-- name: progressed
UPDATE workers SET
    life = 'running',
    why = '',
    last_outcome = :outcome,
    last_progress_at = :now,
    state = coalesce(:state, state),
    ticks_since_checkpoint = :ticks_since_checkpoint,
    last_call = :last_call,
    repeats = :repeats
WHERE name = :name

-- name: checkpointed
UPDATE workers SET ticks_since_checkpoint = 0 WHERE name = :name

-- Ticks that a dead life left running; a page at a time.
-- name: orphaned_ticks
SELECT worker, number, session_id, boot_id, started_at
FROM ticks
WHERE outcome IS NULL
    AND boot_id <> :boot_id
    AND boot_id NOT IN (SELECT boot_id FROM daemons WHERE stopped_at IS NULL)
ORDER BY worker, number
LIMIT :rows_max

-- name: orphaned_holds
SELECT id, boot_id, worker, session_id, tick, model, what, account_ids, placed_at, cost_held,
    tokens_held, actions_held, status, cost_settled, tokens_settled, actions_settled, why,
    org, team, user_id, conversation
FROM holds
WHERE status = 'open'
    AND boot_id <> :boot_id
    AND boot_id NOT IN (SELECT boot_id FROM daemons WHERE stopped_at IS NULL)
ORDER BY id
LIMIT :rows_max

-- name: recovered
UPDATE workers SET last_outcome = 'recovered', last_progress_at = :now WHERE name = :name

-- name: running_tick
SELECT worker, number, session_id, boot_id, started_at
FROM ticks WHERE worker = :worker AND outcome IS NULL

-- name: restore_state
UPDATE workers SET state = :state, ticks_since_checkpoint = 0 WHERE name = :name

-- name: keep_state
UPDATE workers SET state = :state WHERE name = :name

-- name: schedule
SELECT schedule, taken_at FROM schedules WHERE worker = :worker

-- name: open_schedule
INSERT INTO schedules (worker, schedule, taken_at) VALUES (:worker, :schedule, :now)
ON CONFLICT (worker) DO UPDATE SET schedule = excluded.schedule, taken_at = excluded.taken_at

-- Compare-and-set: of several that want an occurrence, one takes it.
-- name: take_occurrence
UPDATE schedules SET taken_at = :due
WHERE worker = :worker AND schedule = :schedule AND taken_at = :before AND taken_at < :due

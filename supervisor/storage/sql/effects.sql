-- name: take
INSERT INTO effects (scope, effect_key, state, boot_id, worker, tick, job, taken_at)
VALUES (:scope, :effect_key, 'taken', :boot_id, :worker, :tick, :job, :now)
ON CONFLICT (scope, effect_key) DO NOTHING

-- name: by_key
SELECT scope, effect_key, state, result, boot_id, worker, tick, job
FROM effects WHERE scope = :scope AND effect_key = :effect_key

-- What is asked for goes on guarding.
-- name: asked
UPDATE effects SET asked_at = :now
WHERE scope = :scope AND effect_key = :effect_key AND state = 'done' AND asked_at < :before

-- Only by the tick that took it, or by whoever has found out what became of it.
-- name: done
UPDATE effects SET state = 'done', result = :result, ended_at = :now, asked_at = :now
WHERE scope = :scope AND effect_key = :effect_key AND state = :before
    AND worker = :worker AND tick = :tick

-- name: free
DELETE FROM effects
WHERE scope = :scope AND effect_key = :effect_key AND state = :before
    AND worker = :worker AND tick = :tick

-- name: lose
UPDATE effects SET state = 'unknown'
WHERE scope = :scope AND effect_key = :effect_key AND state = 'taken'
    AND worker = :worker AND tick = :tick

-- Keys whose tick is over, or whose life is: nobody will say what became of their effects.
-- name: orphaned
SELECT scope, effect_key, state, result, boot_id, effects.worker, tick, job
FROM effects
WHERE state = 'taken' AND EXISTS (
    SELECT 1 FROM ticks
    WHERE ticks.worker = effects.worker AND ticks.number = effects.tick
        AND ticks.outcome IS NOT NULL
)
ORDER BY scope, effect_key
LIMIT :rows_max

-- name: unknown
SELECT scope, effect_key, state, result, boot_id, worker, tick, job
FROM effects WHERE state = 'unknown'
ORDER BY taken_at
LIMIT :rows_max

-- name: unknown_of_job
SELECT scope, effect_key, state, result, boot_id, worker, tick, job
FROM effects WHERE state = 'unknown' AND job = :job
ORDER BY taken_at

-- name: get
SELECT value FROM memories WHERE worker = :worker AND memory_key = :key

-- name: keys
SELECT memory_key AS key FROM memories
WHERE worker = :worker AND memory_key > :after
    AND substr(memory_key, 1, CAST(:prefix_chars AS INTEGER)) = :prefix
ORDER BY memory_key
LIMIT :rows_max

-- name: size
SELECT value_bytes AS size FROM memories WHERE worker = :worker AND memory_key = :key

-- name: put
INSERT INTO memories (worker, memory_key, value, value_bytes, changed_at)
VALUES (:worker, :key, :value, :value_bytes, :now)
ON CONFLICT (worker, memory_key) DO UPDATE SET
    value = excluded.value,
    value_bytes = excluded.value_bytes,
    changed_at = excluded.changed_at

-- name: remove
DELETE FROM memories WHERE worker = :worker AND memory_key = :key

-- name: total
SELECT total_bytes AS size FROM memory_totals WHERE worker = :worker

-- name: put_total
INSERT INTO memory_totals (worker, total_bytes) VALUES (:worker, :total)
ON CONFLICT (worker) DO UPDATE SET total_bytes = excluded.total_bytes

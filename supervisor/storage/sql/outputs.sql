-- name: newest
SELECT fingerprint, output_key AS key FROM outputs
WHERE worker = :worker
ORDER BY published_at DESC, fingerprint, output_key
LIMIT :rows_max

-- name: remember
INSERT INTO outputs (worker, fingerprint, output_key, published_at)
VALUES (:worker, :fingerprint, :key, :now)
ON CONFLICT (worker, fingerprint, output_key) DO UPDATE SET published_at = excluded.published_at

-- name: forget
DELETE FROM outputs
WHERE worker = :worker AND fingerprint = :fingerprint AND output_key = :key

-- Those of one moment stay together, so that it may keep some more.
-- name: forget_oldest
DELETE FROM outputs
WHERE worker = :worker AND published_at < (
    SELECT min(published_at) FROM (
        SELECT published_at FROM outputs
        WHERE worker = :worker
        ORDER BY published_at DESC
        LIMIT :rows_max
    ) AS newest
)

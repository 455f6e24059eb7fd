-- Open holds that no living daemon will end. `:boot_id` is the life that holds the lock, or empty;
-- where a store has only one daemon at a time (:is_alone), every other life is over.
-- name: loose_holds
SELECT count(*) AS number, coalesce(sum(cost_held), 0) AS cost
FROM holds
WHERE status = 'open'
    AND boot_id <> :boot_id
    AND (:is_alone = 1 OR boot_id NOT IN (SELECT boot_id FROM daemons WHERE stopped_at IS NULL))

-- name: loose_ticks
SELECT count(*) AS number, 0 AS cost
FROM ticks
WHERE outcome IS NULL
    AND boot_id <> :boot_id
    AND (:is_alone = 1 OR boot_id NOT IN (SELECT boot_id FROM daemons WHERE stopped_at IS NULL))

-- What quiet hours hold back waits without an error.
-- name: waiting_channels
SELECT channel, COUNT(*) AS waiting, MIN(told_at) AS oldest_at, MAX(last_error) AS error
FROM alert_messages
WHERE delivered_at IS NULL
GROUP BY channel
ORDER BY channel

-- What `supervisor scorecard` reads: events by the time at which they happened, or by session.
-- What is retired is not: its days' figures were kept, and its rows go bit by bit.
-- No upper bound: a row whose `at` is damaged compares as above every number, and is to be named.

-- name: events_since
SELECT position AS key, session_id, seq, at, kind, payload FROM events
WHERE position > :after AND at >= :since
    AND session_id NOT IN (SELECT session_id FROM retiring)
ORDER BY position

-- name: next_since
SELECT position AS key FROM events
WHERE position > :after AND at >= :since
    AND session_id NOT IN (SELECT session_id FROM retiring)
ORDER BY position LIMIT 1

-- By position, as nothing else of a row can be relied on where it is damaged.
-- name: events_of_session
SELECT position AS key, session_id, seq, at, kind, payload FROM events
WHERE session_id = :session_id AND position > :after
ORDER BY position

-- name: next_of_session
SELECT position AS key FROM events
WHERE session_id = :session_id AND position > :after
ORDER BY position LIMIT 1

-- Without a worker's name: of all workers, and not of the daemon itself.
-- name: newest_sessions
SELECT id, worker, window_start, window_end, opened_at, closed_at FROM sessions
WHERE (worker = :worker OR (:worker IS NULL AND worker <> :system))
    AND id NOT IN (SELECT session_id FROM retiring)
ORDER BY opened_at DESC, id DESC
LIMIT :rows_max

-- name: older_session
SELECT id AS key FROM sessions WHERE opened_at < :at
UNION ALL
SELECT worker AS key FROM retired_days WHERE day_at < :at
LIMIT 1

-- name: session_before
SELECT id, worker, window_start, window_end, opened_at, closed_at FROM sessions
WHERE worker = :worker AND window_start < :window_start
    AND id NOT IN (SELECT session_id FROM retiring)
ORDER BY window_start DESC
LIMIT 1

-- name: retired_day
SELECT day_at, worker, figures FROM retired_days WHERE day_at = :day_at AND worker = :worker

-- name: retired_since
SELECT day_at, worker, figures FROM retired_days WHERE day_at >= :since ORDER BY day_at, worker

-- name: keep_retired_day
INSERT INTO retired_days (day_at, worker, figures) VALUES (:day_at, :worker, :figures)
ON CONFLICT (day_at, worker) DO UPDATE SET figures = excluded.figures

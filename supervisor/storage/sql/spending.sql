-- What was spent, by on whose behalf: for `supervisor spend`.

-- name: by_org
SELECT org AS key, count(*) AS holds, sum(cost_settled) AS cost, sum(tokens_settled) AS tokens,
    sum(CASE WHEN status = 'open' THEN cost_held ELSE 0 END) AS held
FROM holds WHERE placed_at >= :since GROUP BY org ORDER BY cost DESC, key

-- name: by_team
SELECT team AS key, count(*) AS holds, sum(cost_settled) AS cost, sum(tokens_settled) AS tokens,
    sum(CASE WHEN status = 'open' THEN cost_held ELSE 0 END) AS held
FROM holds WHERE placed_at >= :since GROUP BY team ORDER BY cost DESC, key

-- name: by_user
SELECT user_id AS key, count(*) AS holds, sum(cost_settled) AS cost, sum(tokens_settled) AS tokens,
    sum(CASE WHEN status = 'open' THEN cost_held ELSE 0 END) AS held
FROM holds WHERE placed_at >= :since GROUP BY user_id ORDER BY cost DESC, key

-- name: by_conversation
SELECT conversation AS key, count(*) AS holds, sum(cost_settled) AS cost,
    sum(tokens_settled) AS tokens,
    sum(CASE WHEN status = 'open' THEN cost_held ELSE 0 END) AS held
FROM holds WHERE placed_at >= :since GROUP BY conversation ORDER BY cost DESC, key

-- What the events of sessions add up to, of those that reach beyond a moment.
-- name: counters
SELECT counters FROM sessions WHERE window_end > :since

-- What each session has used in all; calls in flight and reported usage are none of it.
-- name: of_sessions
SELECT session_id AS key, sum(cost_settled) AS cost, sum(tokens_settled) AS tokens,
    sum(actions_settled) AS actions
FROM holds
WHERE placed_at >= :since AND status <> 'open' AND session_id NOT LIKE 'system@%'
GROUP BY session_id
ORDER BY key

-- What each identity has used in each quarter of an hour, which no day and no week divides.
-- name: of_identities
SELECT org, team, user_id, placed_at / 900000000 AS quarter,
    sum(cost_settled) AS cost, sum(tokens_settled) AS tokens
FROM holds
WHERE placed_at >= :since AND status <> 'open'
    AND (org <> '' OR team <> '' OR user_id <> '')
GROUP BY org, team, user_id, placed_at / 900000000
ORDER BY org, team, user_id, quarter

-- Here, because Postgres must be told the type of a parameter that may be NULL.

-- name: usage_since
SELECT coalesce(sum(cost), 0) AS cost, coalesce(sum(tokens), 0) AS tokens,
    coalesce(sum(actions), 0) AS actions
FROM retired_usage
WHERE last_at >= :since
    AND (CAST(:worker AS TEXT) IS NULL OR worker = :worker)
    AND (CAST(:model AS TEXT) IS NULL OR model = :model)
    AND (CAST(:org AS TEXT) IS NULL OR org = :org)
    AND (CAST(:team AS TEXT) IS NULL OR team = :team)
    AND (CAST(:user AS TEXT) IS NULL OR user_id = :user)

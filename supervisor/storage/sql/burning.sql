-- What was spent since a moment, in parts of that span. What a breaker has stopped, or was closed
-- after, is judged already.
-- name: spent
SELECT worker, model, (placed_at - :since) / :part AS part, CAST(sum(cost_settled) AS BIGINT) AS cost
FROM holds
WHERE placed_at >= :since
    AND status <> 'open'
    AND NOT EXISTS (
        SELECT 1 FROM breakers
        WHERE (name = 'worker:' || holds.worker OR name = 'system')
            AND (state <> 'closed' OR changed_at >= holds.placed_at)
    )
GROUP BY 1, 2, 3
ORDER BY worker, model, part

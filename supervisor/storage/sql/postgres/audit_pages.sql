-- Here and not shared, because the list of holds comes in as a JSON array, which each database
-- unfolds in its own way.

-- name: holds
SELECT id, worker, session_id, tick, model, account_ids, status, cost_held, tokens_held,
    actions_held, cost_settled, tokens_settled, actions_settled, org, team, user_id,
    conversation
FROM holds
WHERE id = ANY (ARRAY(SELECT json_array_elements_text(CAST(:ids AS JSON))))

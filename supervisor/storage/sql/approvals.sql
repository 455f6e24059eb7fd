-- name: proposal
SELECT id, worker, session_id, tick, content, risk, tier, step, reason, status, code, why,
    grant_id, is_drawn, is_counted, hold_id, proposed_at, open_until
FROM proposals
WHERE id = :id

-- name: propose
INSERT INTO proposals (
    id, worker, session_id, tick, action, resource, content, risk, tier, step, reason, status,
    code, why, is_counted, proposed_at, open_until, ended_at
) VALUES (
    :id, :worker, :session_id, :tick, :action, :resource, :content, :risk, :tier, :step, :reason,
    :status, :code, :why, :is_counted, :now, :open_until, :ended_at
)

-- Compare-and-set: of several that move one proposal, one does.
-- name: move_proposal
UPDATE proposals SET
    status = :status, code = :code, why = :why, open_until = :open_until, ended_at = :ended_at
WHERE id = :id AND status = :before AND hold_id IS NULL

-- name: cover_proposal
UPDATE proposals SET grant_id = :grant_id, is_drawn = :is_drawn WHERE id = :id

-- name: counted
UPDATE proposals SET is_counted = 1 WHERE id = :id

-- Takes an approved proposal for its one execution.
-- name: take_proposal
UPDATE proposals SET hold_id = :hold_id, is_counted = 1
WHERE id = :id AND status = 'approved' AND hold_id IS NULL

-- name: end_execution
UPDATE proposals SET status = :status, why = :why, ended_at = :now
WHERE hold_id = :hold_id AND status = 'approved'
RETURNING id, worker, session_id, tick, content, risk, tier, step, reason, status, code, why,
    grant_id, is_drawn, is_counted, hold_id, proposed_at, open_until

-- name: approved_of_worker
SELECT id, worker, session_id, tick, content, risk, tier, step, reason, status, code, why,
    grant_id, is_drawn, is_counted, hold_id, proposed_at, open_until
FROM proposals
WHERE worker = :worker AND status = 'approved' AND hold_id IS NULL AND open_until >= :now
ORDER BY proposed_at, id
LIMIT :rows_max

-- What waited in vain: steered and not proposed again, or approved and not executed. One that has
-- a ticket is not here before the ticket has ended.
-- name: stale_proposals
SELECT id, worker, session_id, tick, content, risk, tier, step, reason, status, code, why,
    grant_id, is_drawn, is_counted, hold_id, proposed_at, open_until
FROM proposals
WHERE status IN ('pending', 'approved') AND hold_id IS NULL AND open_until < :now
    AND NOT EXISTS (
        SELECT 1 FROM tickets
        WHERE tickets.proposal_id = proposals.id AND tickets.status = 'pending'
    )
ORDER BY open_until, id
LIMIT :rows_max

-- name: ticket
SELECT id, proposal_id, worker, session_id, is_draft, why, status, requested_at, deadline_at,
    decided_at, decided_by, decision_why
FROM tickets
WHERE id = :id

-- name: request
INSERT INTO tickets (
    id, proposal_id, worker, session_id, is_draft, why, status, requested_at, deadline_at
) VALUES (
    :id, :proposal_id, :worker, :session_id, :is_draft, :why, 'pending', :now, :deadline_at
)

-- Compare-and-set: of several deciders, one decides, and none after the deadline.
-- name: decide
UPDATE tickets SET
    status = :status, decided_at = :now, decided_by = :decided_by, decision_why = :why
WHERE id = :id AND status = 'pending' AND deadline_at >= :now

-- name: expire
UPDATE tickets SET status = 'expired', decided_at = :now
WHERE id = :id AND status = 'pending' AND deadline_at < :now

-- name: overdue
SELECT id, proposal_id, worker, session_id, is_draft, why, status, requested_at, deadline_at,
    decided_at, decided_by, decision_why
FROM tickets
WHERE status = 'pending' AND deadline_at < :now
ORDER BY deadline_at, id
LIMIT :rows_max

-- name: backlog
SELECT count(*) AS pending, min(requested_at) AS oldest_at, min(deadline_at) AS next_deadline_at
FROM tickets
WHERE status = 'pending'

-- name: pending
SELECT tickets.id, tickets.proposal_id, tickets.worker, tickets.session_id, tickets.is_draft,
    tickets.why, tickets.status, tickets.requested_at, tickets.deadline_at, tickets.decided_at,
    tickets.decided_by, tickets.decision_why, proposals.content, proposals.risk,
    proposals.status AS proposal_status, proposals.why AS proposal_why
FROM tickets JOIN proposals ON proposals.id = tickets.proposal_id
WHERE tickets.status = 'pending'
ORDER BY tickets.requested_at, tickets.id
LIMIT :rows_max

-- name: newest
SELECT tickets.id, tickets.proposal_id, tickets.worker, tickets.session_id, tickets.is_draft,
    tickets.why, tickets.status, tickets.requested_at, tickets.deadline_at, tickets.decided_at,
    tickets.decided_by, tickets.decision_why, proposals.content, proposals.risk,
    proposals.status AS proposal_status, proposals.why AS proposal_why
FROM tickets JOIN proposals ON proposals.id = tickets.proposal_id
ORDER BY tickets.requested_at DESC, tickets.id
LIMIT :rows_max

-- name: one
SELECT tickets.id, tickets.proposal_id, tickets.worker, tickets.session_id, tickets.is_draft,
    tickets.why, tickets.status, tickets.requested_at, tickets.deadline_at, tickets.decided_at,
    tickets.decided_by, tickets.decision_why, proposals.content, proposals.risk,
    proposals.status AS proposal_status, proposals.why AS proposal_why
FROM tickets JOIN proposals ON proposals.id = tickets.proposal_id
WHERE tickets.id = :id

-- Workers that have not been called since a decision of theirs.
-- name: unnoticed
SELECT id AS ticket, worker FROM tickets
WHERE status <> 'pending' AND noticed_at IS NULL
ORDER BY worker, id

-- name: notice
UPDATE tickets SET noticed_at = :now
WHERE worker = :worker AND status <> 'pending' AND noticed_at IS NULL

-- name: open_grant
INSERT INTO session_grants (
    id, session_id, worker, action, resources, count_max, cost_max, expires_at, granted_by,
    granted_at
) VALUES (
    :id, :session_id, :worker, :action, :resources, :count_max, :cost_max, :expires_at,
    :granted_by, :now
)

-- name: grant
SELECT id, session_id, worker, action, resources, count_max, cost_max, expires_at, count_used,
    cost_used, granted_by
FROM session_grants
WHERE id = :id

-- name: grants_of_session
SELECT id, session_id, worker, action, resources, count_max, cost_max, expires_at, count_used,
    cost_used, granted_by
FROM session_grants
WHERE session_id = :session_id AND action = :action
ORDER BY granted_at, id

-- The one guard of what a person has allowed: where it fits, the row changes.
-- name: draw
UPDATE session_grants SET count_used = count_used + 1, cost_used = cost_used + :cost
WHERE id = :id
    AND (count_max IS NULL OR count_used < count_max)
    AND (cost_max IS NULL OR cost_used + :cost <= cost_max)
    AND (expires_at IS NULL OR expires_at >= :now)

-- name: session_risk
SELECT points, level, recent FROM session_risks WHERE session_id = :session_id

-- name: set_session_risk
INSERT INTO session_risks (session_id, points, level, recent)
VALUES (:session_id, :points, :level, :recent)
ON CONFLICT (session_id) DO UPDATE SET
    points = excluded.points, level = excluded.level, recent = excluded.recent

-- name: steered
SELECT count FROM steers WHERE session_id = :session_id AND action = :action

-- name: steer
INSERT INTO steers (session_id, action, count) VALUES (:session_id, :action, 1)
ON CONFLICT (session_id, action) DO UPDATE SET count = steers.count + 1

-- Proposals, tickets, session grants, and what a session's actions add up to.
-- Moments (*_at, open_until) are microseconds since 1970 UTC. Costs are micro-USD.

-- An action that an agent wants to take; the id is its command id. `open_until` is when it expires
-- while it waits, and until when it may be executed once it is approved. `is_counted` says whether
-- it is in its session's risk yet.
CREATE TABLE proposals (
    id TEXT NOT NULL PRIMARY KEY,
    worker TEXT NOT NULL,
    session_id TEXT NOT NULL,
    tick INTEGER NOT NULL,
    action TEXT NOT NULL,
    resource TEXT NOT NULL,
    content TEXT NOT NULL,
    risk TEXT NOT NULL CHECK (risk IN ('low', 'medium', 'high')),
    tier TEXT NOT NULL CHECK (
        tier IN ('blocked', 'steer', 'always_approve', 'auto_approve', 'unrestricted', 'default')
    ),
    step TEXT NOT NULL,
    reason TEXT NOT NULL,
    status TEXT NOT NULL CHECK (
        status IN ('pending', 'approved', 'denied', 'expired', 'executed', 'failed')
    ),
    code TEXT NOT NULL DEFAULT '',
    why TEXT NOT NULL DEFAULT '',
    grant_id TEXT,
    is_drawn INTEGER NOT NULL DEFAULT 0,
    is_counted INTEGER NOT NULL,
    hold_id TEXT,
    proposed_at INTEGER NOT NULL,
    open_until INTEGER NOT NULL,
    ended_at INTEGER,
    CHECK ((status IN ('pending', 'approved')) = (ended_at IS NULL)),
    CHECK (hold_id IS NULL OR status IN ('approved', 'executed', 'failed')),
    CHECK (status <> 'executed' OR hold_id IS NOT NULL)
) WITHOUT ROWID;

CREATE UNIQUE INDEX proposals_execution ON proposals (hold_id) WHERE hold_id IS NOT NULL;
CREATE INDEX proposals_waiting ON proposals (open_until)
    WHERE status IN ('pending', 'approved') AND hold_id IS NULL;
CREATE INDEX proposals_approved ON proposals (worker) WHERE status = 'approved';

-- The same moves as governance/proposals.py allows.
CREATE TRIGGER proposals_legal_moves BEFORE UPDATE OF status ON proposals
WHEN OLD.status <> NEW.status AND NOT (
    (OLD.status = 'pending' AND NEW.status IN ('approved', 'denied', 'expired'))
    OR (OLD.status = 'approved' AND NEW.status IN ('executed', 'failed'))
)
BEGIN
    SELECT RAISE(ABORT, 'illegal move of a proposal');
END;

CREATE TRIGGER proposals_executed_once BEFORE UPDATE OF hold_id ON proposals
WHEN OLD.hold_id IS NOT NULL AND (NEW.hold_id IS NULL OR NEW.hold_id <> OLD.hold_id)
BEGIN
    SELECT RAISE(ABORT, 'a proposal is executed once');
END;

-- A request for a person's decision on a proposal. `noticed_at` is when its worker was called
-- because of the decision.
CREATE TABLE tickets (
    id TEXT NOT NULL PRIMARY KEY,
    proposal_id TEXT NOT NULL REFERENCES proposals (id),
    worker TEXT NOT NULL,
    session_id TEXT NOT NULL,
    is_draft INTEGER NOT NULL,
    why TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'approved', 'denied', 'expired')),
    requested_at INTEGER NOT NULL,
    deadline_at INTEGER NOT NULL,
    decided_at INTEGER,
    decided_by TEXT NOT NULL DEFAULT '',
    decision_why TEXT NOT NULL DEFAULT '',
    noticed_at INTEGER,
    CHECK ((status = 'pending') = (decided_at IS NULL)),
    -- Nobody decides after the deadline, and nothing expires before it.
    CHECK (status NOT IN ('approved', 'denied') OR decided_at <= deadline_at),
    CHECK (status <> 'expired' OR decided_at > deadline_at)
) WITHOUT ROWID;

CREATE UNIQUE INDEX tickets_of_proposal ON tickets (proposal_id);
CREATE INDEX tickets_pending ON tickets (deadline_at) WHERE status = 'pending';
CREATE INDEX tickets_unnoticed ON tickets (worker)
    WHERE status <> 'pending' AND noticed_at IS NULL;
CREATE INDEX tickets_by_time ON tickets (requested_at);

CREATE TRIGGER tickets_decided_once BEFORE UPDATE OF status ON tickets
WHEN OLD.status <> 'pending'
BEGIN
    SELECT RAISE(ABORT, 'a ticket is decided once');
END;

-- An approval for the rest of a session; the id is the ticket's. What it allows is drawn from it
-- before it is executed, and never returns.
CREATE TABLE session_grants (
    id TEXT NOT NULL PRIMARY KEY REFERENCES tickets (id),
    session_id TEXT NOT NULL,
    worker TEXT NOT NULL,
    action TEXT NOT NULL,
    resources TEXT NOT NULL,
    count_max INTEGER CHECK (count_max > 0),
    cost_max INTEGER CHECK (cost_max >= 0),
    expires_at INTEGER,
    count_used INTEGER NOT NULL DEFAULT 0 CHECK (count_used >= 0),
    cost_used INTEGER NOT NULL DEFAULT 0 CHECK (cost_used >= 0),
    granted_by TEXT NOT NULL,
    granted_at INTEGER NOT NULL,
    CHECK (count_max IS NULL OR count_used <= count_max),
    CHECK (cost_max IS NULL OR cost_used <= cost_max)
) WITHOUT ROWID;

CREATE INDEX session_grants_of_session ON session_grants (session_id, action);

-- What a session's actions add up to; `recent` are its last ones, as JSON. It only goes up.
CREATE TABLE session_risks (
    session_id TEXT NOT NULL PRIMARY KEY,
    points INTEGER NOT NULL CHECK (points >= 0),
    level TEXT NOT NULL CHECK (level IN ('low', 'medium', 'high')),
    recent TEXT NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER session_risks_only_rise BEFORE UPDATE ON session_risks
WHEN NEW.points < OLD.points
    OR (OLD.level = 'high' AND NEW.level <> 'high')
    OR (OLD.level = 'medium' AND NEW.level = 'low')
BEGIN
    SELECT RAISE(ABORT, 'the risk of a session only rises');
END;

-- How often a session was steered away from an action.
CREATE TABLE steers (
    session_id TEXT NOT NULL,
    action TEXT NOT NULL,
    count INTEGER NOT NULL CHECK (count > 0),
    PRIMARY KEY (session_id, action)
) WITHOUT ROWID;

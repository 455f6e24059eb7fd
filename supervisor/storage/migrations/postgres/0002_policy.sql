-- Proposals, tickets, session grants, and what a session's actions add up to.
-- Moments (*_at, open_until) are microseconds since 1970 UTC. Costs are micro-USD.

-- An action that an agent wants to take; the id is its command id. `open_until` is when it expires
-- while it waits, and until when it may be executed once it is approved. `is_counted` says whether
-- it is in its session's risk yet.
CREATE TABLE proposals (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    worker TEXT COLLATE "C" NOT NULL,
    session_id TEXT COLLATE "C" NOT NULL,
    tick BIGINT NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    resource TEXT COLLATE "C" NOT NULL,
    content TEXT COLLATE "C" NOT NULL,
    risk TEXT COLLATE "C" NOT NULL CHECK (risk IN ('low', 'medium', 'high')),
    tier TEXT COLLATE "C" NOT NULL CHECK (
        tier IN ('blocked', 'steer', 'always_approve', 'auto_approve', 'unrestricted', 'default')
    ),
    step TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL CHECK (
        status IN ('pending', 'approved', 'denied', 'expired', 'executed', 'failed')
    ),
    code TEXT COLLATE "C" NOT NULL DEFAULT '',
    why TEXT COLLATE "C" NOT NULL DEFAULT '',
    grant_id TEXT COLLATE "C",
    is_drawn BIGINT NOT NULL DEFAULT 0,
    is_counted BIGINT NOT NULL,
    hold_id TEXT COLLATE "C",
    proposed_at BIGINT NOT NULL,
    open_until BIGINT NOT NULL,
    ended_at BIGINT,
    CHECK ((status IN ('pending', 'approved')) = (ended_at IS NULL)),
    CHECK (hold_id IS NULL OR status IN ('approved', 'executed', 'failed')),
    CHECK (status <> 'executed' OR hold_id IS NOT NULL)
);

CREATE UNIQUE INDEX proposals_execution ON proposals (hold_id) WHERE hold_id IS NOT NULL;
CREATE INDEX proposals_waiting ON proposals (open_until)
    WHERE status IN ('pending', 'approved') AND hold_id IS NULL;
CREATE INDEX proposals_approved ON proposals (worker) WHERE status = 'approved';

-- The same moves as governance/proposals.py allows.
CREATE TRIGGER proposals_legal_moves BEFORE UPDATE OF status ON proposals
FOR EACH ROW WHEN (
    OLD.status <> NEW.status AND NOT (
    (OLD.status = 'pending' AND NEW.status IN ('approved', 'denied', 'expired'))
    OR (OLD.status = 'approved' AND NEW.status IN ('executed', 'failed'))
)
)
EXECUTE FUNCTION break_rule('illegal move of a proposal');

CREATE TRIGGER proposals_executed_once BEFORE UPDATE OF hold_id ON proposals
FOR EACH ROW WHEN (
    OLD.hold_id IS NOT NULL AND (NEW.hold_id IS NULL OR NEW.hold_id <> OLD.hold_id)
)
EXECUTE FUNCTION break_rule('a proposal is executed once');

-- A request for a person's decision on a proposal. `noticed_at` is when its worker was called
-- because of the decision.
CREATE TABLE tickets (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    proposal_id TEXT COLLATE "C" NOT NULL REFERENCES proposals (id),
    worker TEXT COLLATE "C" NOT NULL,
    session_id TEXT COLLATE "C" NOT NULL,
    is_draft BIGINT NOT NULL,
    why TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL CHECK (status IN ('pending', 'approved', 'denied', 'expired')),
    requested_at BIGINT NOT NULL,
    deadline_at BIGINT NOT NULL,
    decided_at BIGINT,
    decided_by TEXT COLLATE "C" NOT NULL DEFAULT '',
    decision_why TEXT COLLATE "C" NOT NULL DEFAULT '',
    noticed_at BIGINT,
    CHECK ((status = 'pending') = (decided_at IS NULL)),
    -- Nobody decides after the deadline, and nothing expires before it.
    CHECK (status NOT IN ('approved', 'denied') OR decided_at <= deadline_at),
    CHECK (status <> 'expired' OR decided_at > deadline_at)
);

CREATE UNIQUE INDEX tickets_of_proposal ON tickets (proposal_id);
CREATE INDEX tickets_pending ON tickets (deadline_at) WHERE status = 'pending';
CREATE INDEX tickets_unnoticed ON tickets (worker)
    WHERE status <> 'pending' AND noticed_at IS NULL;
CREATE INDEX tickets_by_time ON tickets (requested_at);

CREATE TRIGGER tickets_decided_once BEFORE UPDATE OF status ON tickets
FOR EACH ROW WHEN (
    OLD.status <> 'pending'
)
EXECUTE FUNCTION break_rule('a ticket is decided once');

-- An approval for the rest of a session; the id is the ticket's. What it allows is drawn from it
-- before it is executed, and never returns.
CREATE TABLE session_grants (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES tickets (id),
    session_id TEXT COLLATE "C" NOT NULL,
    worker TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    resources TEXT COLLATE "C" NOT NULL,
    count_max BIGINT CHECK (count_max > 0),
    cost_max BIGINT CHECK (cost_max >= 0),
    expires_at BIGINT,
    count_used BIGINT NOT NULL DEFAULT 0 CHECK (count_used >= 0),
    cost_used BIGINT NOT NULL DEFAULT 0 CHECK (cost_used >= 0),
    granted_by TEXT COLLATE "C" NOT NULL,
    granted_at BIGINT NOT NULL,
    CHECK (count_max IS NULL OR count_used <= count_max),
    CHECK (cost_max IS NULL OR cost_used <= cost_max)
);

CREATE INDEX session_grants_of_session ON session_grants (session_id, action);

-- What a session's actions add up to; `recent` are its last ones, as JSON. It only goes up.
CREATE TABLE session_risks (
    session_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    points BIGINT NOT NULL CHECK (points >= 0),
    level TEXT COLLATE "C" NOT NULL CHECK (level IN ('low', 'medium', 'high')),
    recent TEXT COLLATE "C" NOT NULL
);

CREATE TRIGGER session_risks_only_rise BEFORE UPDATE ON session_risks
FOR EACH ROW WHEN (
    NEW.points < OLD.points
    OR (OLD.level = 'high' AND NEW.level <> 'high')
    OR (OLD.level = 'medium' AND NEW.level = 'low')
)
EXECUTE FUNCTION break_rule('the risk of a session only rises');

-- How often a session was steered away from an action.
CREATE TABLE steers (
    session_id TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    count BIGINT NOT NULL CHECK (count > 0),
    PRIMARY KEY (session_id, action)
);

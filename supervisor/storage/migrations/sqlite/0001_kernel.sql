-- The kernel: sessions and their events, accounts and holds, kill latches, ticks.
-- Moments (*_at, window_*) are microseconds since 1970 UTC. Money is micro-USD.

CREATE TABLE schema_migrations (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at INTEGER NOT NULL
);

-- One governance window of one worker. The id is the worker and the window's start, so that a
-- second start in one window finds the same row.
CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    worker TEXT NOT NULL,
    window_start INTEGER NOT NULL,
    window_end INTEGER NOT NULL,
    execution_mode TEXT NOT NULL CHECK (execution_mode IN ('dry_run', 'live', 'replay')),
    status TEXT NOT NULL CHECK (status IN ('created', 'active', 'paused', 'completed', 'aborted')),
    why TEXT NOT NULL DEFAULT '',
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    received_note TEXT NOT NULL DEFAULT '',
    handoff_note TEXT NOT NULL DEFAULT '',
    last_seq INTEGER NOT NULL DEFAULT 0,
    last_hash BLOB NOT NULL DEFAULT x'',
    counters TEXT NOT NULL DEFAULT '{}',
    summary TEXT,
    CHECK (window_start < window_end),
    CHECK ((status IN ('completed', 'aborted')) = (summary IS NOT NULL))
) WITHOUT ROWID;

CREATE UNIQUE INDEX sessions_window ON sessions (worker, window_start);
CREATE UNIQUE INDEX sessions_one_open ON sessions (worker)
    WHERE status IN ('created', 'active', 'paused');

-- The same moves as governance/session.py allows.
CREATE TRIGGER sessions_legal_moves BEFORE UPDATE OF status ON sessions
WHEN OLD.status <> NEW.status AND NOT (
    (OLD.status = 'created' AND NEW.status IN ('active', 'aborted'))
    OR (OLD.status = 'active' AND NEW.status IN ('paused', 'completed', 'aborted'))
    OR (OLD.status = 'paused' AND NEW.status IN ('active', 'completed', 'aborted'))
)
BEGIN
    SELECT RAISE(ABORT, 'illegal move of a session');
END;

CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id),
    seq INTEGER NOT NULL CHECK (seq > 0),
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    correlation_id TEXT NOT NULL,
    command_id TEXT NOT NULL,
    state_bearing INTEGER NOT NULL,
    payload TEXT NOT NULL,
    hash BLOB NOT NULL
);

CREATE UNIQUE INDEX events_sequence ON events (session_id, seq);

CREATE TRIGGER events_append_only_update BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are append-only');
END;

CREATE TRIGGER events_append_only_delete BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are append-only');
END;

-- Operators' commands; holds, ticks and sessions are their own record, keyed by their id.
CREATE TABLE commands (
    id TEXT NOT NULL PRIMARY KEY,
    operation TEXT NOT NULL,
    content TEXT NOT NULL,
    content_hash BLOB NOT NULL,
    result TEXT NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;

-- A counter with a limit. `overrun` is the excess that an account_overrun event names: a call
-- that cost more than its hold, or a limit that was lowered below what was spent.
CREATE TABLE accounts (
    id TEXT NOT NULL PRIMARY KEY,
    scope TEXT NOT NULL,
    period TEXT NOT NULL
        CHECK (period IN ('hour', 'day', 'week', 'month', 'session', 'unlimited')),
    period_key TEXT NOT NULL,
    unit TEXT NOT NULL CHECK (unit IN ('micro_usd', 'tokens', 'actions')),
    limit_amount INTEGER NOT NULL CHECK (limit_amount >= 0),
    settled INTEGER NOT NULL CHECK (settled >= 0),
    held INTEGER NOT NULL CHECK (held >= 0),
    overrun INTEGER NOT NULL DEFAULT 0 CHECK (overrun >= 0),
    opened_at INTEGER NOT NULL,
    resets_at INTEGER,
    warned_at INTEGER,
    exhausted_at INTEGER,
    CHECK (settled + held <= limit_amount + overrun)
) WITHOUT ROWID;

CREATE UNIQUE INDEX accounts_key ON accounts (scope, period, period_key, unit);

CREATE TABLE holds (
    id TEXT NOT NULL PRIMARY KEY,
    boot_id TEXT NOT NULL,
    worker TEXT NOT NULL,
    session_id TEXT NOT NULL REFERENCES sessions (id),
    tick INTEGER NOT NULL,
    model TEXT NOT NULL,
    what TEXT NOT NULL,
    account_ids TEXT NOT NULL,
    placed_at INTEGER NOT NULL,
    cost_held INTEGER NOT NULL CHECK (cost_held >= 0),
    tokens_held INTEGER NOT NULL CHECK (tokens_held >= 0),
    actions_held INTEGER NOT NULL CHECK (actions_held >= 0),
    status TEXT NOT NULL CHECK (status IN ('open', 'settled', 'released', 'forfeited')),
    ended_at INTEGER,
    cost_settled INTEGER NOT NULL DEFAULT 0 CHECK (cost_settled >= 0),
    tokens_settled INTEGER NOT NULL DEFAULT 0 CHECK (tokens_settled >= 0),
    actions_settled INTEGER NOT NULL DEFAULT 0 CHECK (actions_settled >= 0),
    why TEXT NOT NULL DEFAULT '',
    CHECK ((status = 'open') = (ended_at IS NULL))
) WITHOUT ROWID;

CREATE INDEX holds_open ON holds (worker, tick) WHERE status = 'open';
CREATE INDEX holds_by_time ON holds (placed_at);

-- A hold ends exactly once; only a forfeited one may be reconciled to what it really cost.
CREATE TRIGGER holds_end_once BEFORE UPDATE OF status ON holds
WHEN NOT (OLD.status = 'open' OR (OLD.status = 'forfeited' AND NEW.status = 'settled'))
BEGIN
    SELECT RAISE(ABORT, 'a hold ends once');
END;

-- The latest moment that the ledger has seen: its periods never go back behind it.
CREATE TABLE ledger_clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at INTEGER NOT NULL
);

INSERT INTO ledger_clock (id, at) VALUES (1, 0);

CREATE TABLE kill_latches (
    scope TEXT NOT NULL PRIMARY KEY,
    is_engaged INTEGER NOT NULL,
    actor TEXT NOT NULL,
    why TEXT NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE breakers (
    name TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('closed', 'open', 'half_open')),
    why TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    retry_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE workers (
    name TEXT NOT NULL PRIMARY KEY,
    life TEXT NOT NULL,
    why TEXT NOT NULL DEFAULT '',
    session_id TEXT,
    last_tick INTEGER NOT NULL DEFAULT 0,
    last_outcome TEXT NOT NULL DEFAULT '',
    last_progress_at INTEGER,
    state TEXT NOT NULL DEFAULT '{}',
    ticks_since_checkpoint INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE ticks (
    worker TEXT NOT NULL,
    number INTEGER NOT NULL,
    session_id TEXT,
    boot_id TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    outcome TEXT,
    why TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (worker, number),
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
) WITHOUT ROWID;

CREATE INDEX ticks_running ON ticks (worker) WHERE outcome IS NULL;

CREATE TABLE checkpoints (
    id TEXT NOT NULL PRIMARY KEY,
    worker TEXT NOT NULL,
    label TEXT NOT NULL,
    session_id TEXT NOT NULL REFERENCES sessions (id),
    event_seq INTEGER NOT NULL,
    tick INTEGER NOT NULL,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX checkpoints_of_worker ON checkpoints (worker, created_at);

CREATE TABLE daemons (
    boot_id TEXT NOT NULL PRIMARY KEY,
    pid INTEGER NOT NULL,
    host TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL,
    stopped_at INTEGER,
    state TEXT NOT NULL
) WITHOUT ROWID;

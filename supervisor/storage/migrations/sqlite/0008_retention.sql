-- Old windows are exported and pruned; what they add up to stays.

-- A durable file with all that belonged to closed sessions. `until` is the position below which they
-- lie, `cut_at` the moment before which commands went with them, `sums_sha256` the seal of what
-- stays of them and of those before (the ..._sums). `pruned_at` is when the last row was gone.
CREATE TABLE exports (
    number INTEGER PRIMARY KEY,
    file TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    sessions INTEGER NOT NULL,
    events INTEGER NOT NULL,
    until INTEGER NOT NULL,
    cut_at INTEGER NOT NULL,
    sums_sha256 TEXT NOT NULL,
    exported_at INTEGER NOT NULL,
    pruned_at INTEGER
);

-- Sessions that are in an export and not all gone yet: nobody counts them any more.
CREATE TABLE retiring (
    session_id TEXT NOT NULL PRIMARY KEY REFERENCES sessions (id),
    export INTEGER NOT NULL REFERENCES exports (number)
) WITHOUT ROWID;

CREATE TRIGGER retiring_only_sealed BEFORE INSERT ON retiring
WHEN NOT EXISTS (
    SELECT 1 FROM sessions
    WHERE id = NEW.session_id AND status IN ('completed', 'aborted')
)
BEGIN
    SELECT RAISE(ABORT, 'only a session that is over is retired');
END;

DROP TRIGGER events_append_only_delete;

CREATE TRIGGER events_append_only_delete BEFORE DELETE ON events
WHEN NOT EXISTS (SELECT 1 FROM retiring WHERE session_id = OLD.session_id)
BEGIN
    SELECT RAISE(ABORT, 'events are append-only');
END;

-- What the retired events of an account add up to; `limit_at` is the position of the last of them
-- that set its limit.
CREATE TABLE account_sums (
    id TEXT NOT NULL PRIMARY KEY,
    limit_amount INTEGER NOT NULL,
    limit_at INTEGER NOT NULL,
    settled INTEGER NOT NULL,
    held INTEGER NOT NULL,
    overrun INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE worker_sums (
    worker TEXT NOT NULL PRIMARY KEY,
    last_tick INTEGER NOT NULL,
    last_session TEXT NOT NULL
) WITHOUT ROWID;

-- Where retired events left kills and breakers; `at_position` is that of the last of them.
CREATE TABLE state_sums (
    subject TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    at_position INTEGER NOT NULL
) WITHOUT ROWID;

-- What retired holds have used, by the UTC day in which they were placed, for limits that are set
-- later; `last_at` is the moment of the latest of them. What is older than any period is in day 0.
CREATE TABLE retired_usage (
    day_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    worker TEXT NOT NULL,
    model TEXT NOT NULL,
    org TEXT NOT NULL,
    team TEXT NOT NULL,
    user_id TEXT NOT NULL,
    cost INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    actions INTEGER NOT NULL,
    PRIMARY KEY (day_at, worker, model, org, team, user_id)
) WITHOUT ROWID;

-- A session's row can only go once no hold refers to it: without this, a look through all holds.
CREATE INDEX holds_of_session ON holds (session_id);

-- A checkpoint outlives its session: what a rollback may need is kept by number, not by age.
CREATE TABLE kept_checkpoints (
    id TEXT NOT NULL PRIMARY KEY,
    worker TEXT NOT NULL,
    label TEXT NOT NULL,
    session_id TEXT NOT NULL,
    event_seq INTEGER NOT NULL,
    tick INTEGER NOT NULL,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO kept_checkpoints SELECT * FROM checkpoints;

DROP TABLE checkpoints;

ALTER TABLE kept_checkpoints RENAME TO checkpoints;

CREATE INDEX checkpoints_of_worker ON checkpoints (worker, created_at);

-- Rows of ticks and holds lie in the order in which they came, so that those of all workers that
-- are written together are on the same few pages, instead of each worker's on one of its own.
-- (https://www.sqlite.org/withoutrowid.html, read 2026-11-21: without a rowid, a table is its key.)

CREATE TABLE appended_ticks (
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
);

INSERT INTO appended_ticks SELECT * FROM ticks ORDER BY started_at;
DROP TABLE ticks;
ALTER TABLE appended_ticks RENAME TO ticks;

CREATE INDEX ticks_running ON ticks (worker) WHERE outcome IS NULL;

-- A foreign key would look through all holds when a session's row goes, or want an index for it: a
-- page more for each hold. Its holds are gone before it, which the export counts.
CREATE TABLE appended_holds (
    id TEXT NOT NULL PRIMARY KEY,
    boot_id TEXT NOT NULL,
    worker TEXT NOT NULL,
    session_id TEXT NOT NULL,
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
    org TEXT NOT NULL DEFAULT '',
    team TEXT NOT NULL DEFAULT '',
    user_id TEXT NOT NULL DEFAULT '',
    conversation TEXT NOT NULL DEFAULT '',
    CHECK ((status = 'open') = (ended_at IS NULL))
);

INSERT INTO appended_holds SELECT * FROM holds ORDER BY placed_at;
DROP TABLE holds;
ALTER TABLE appended_holds RENAME TO holds;

CREATE INDEX holds_open ON holds (worker, tick) WHERE status = 'open';
CREATE INDEX holds_by_time ON holds (placed_at);
CREATE INDEX holds_of_user ON holds (user_id, placed_at) WHERE user_id <> '';
CREATE INDEX holds_of_conversation ON holds (conversation, placed_at) WHERE conversation <> '';
CREATE INDEX holds_forfeited ON holds (placed_at) WHERE status = 'forfeited';

CREATE TRIGGER holds_of_a_session BEFORE INSERT ON holds
WHEN NOT EXISTS (SELECT 1 FROM sessions WHERE id = NEW.session_id)
BEGIN
    SELECT RAISE(ABORT, 'a hold is of a session');
END;

CREATE TRIGGER holds_end_once BEFORE UPDATE OF status ON holds
WHEN NOT (OLD.status = 'open' OR (OLD.status = 'forfeited' AND NEW.status = 'settled'))
BEGIN
    SELECT RAISE(ABORT, 'a hold ends once');
END;

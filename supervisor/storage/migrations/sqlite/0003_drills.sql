-- Rehearsals of a safety, and what a restored store lacks.

-- A drill is asked for, run, and passed or failed. `boot_id` is the life that took it up, where it
-- needs one.
CREATE TABLE drills (
    id TEXT NOT NULL PRIMARY KEY,
    drill TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('requested', 'running', 'passed', 'failed')),
    actor TEXT NOT NULL,
    boot_id TEXT NOT NULL DEFAULT '',
    asked_at INTEGER NOT NULL,
    ended_at INTEGER,
    measured_us INTEGER NOT NULL DEFAULT 0,
    what TEXT NOT NULL DEFAULT '',
    CHECK ((status IN ('passed', 'failed')) = (ended_at IS NOT NULL))
) WITHOUT ROWID;

CREATE INDEX drills_by_end ON drills (drill, ended_at);
CREATE INDEX drills_under_way ON drills (drill, asked_at) WHERE ended_at IS NULL;

-- What was spent between two moments and is not in this store, because an older one was put back.
-- An amount that is NULL is not known: it counts as all that a limit allows.
CREATE TABLE ledger_gaps (
    id TEXT NOT NULL PRIMARY KEY,
    began_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    cost INTEGER CHECK (cost >= 0),
    tokens INTEGER CHECK (tokens >= 0),
    actions INTEGER CHECK (actions >= 0)
) WITHOUT ROWID;

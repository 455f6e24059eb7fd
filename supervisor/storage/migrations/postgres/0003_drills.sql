-- Rehearsals of a safety, and what a restored store lacks; as migrations/sqlite/0003_drills.sql.

CREATE TABLE drills (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    drill TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL
        CHECK (status IN ('requested', 'running', 'passed', 'failed')),
    actor TEXT COLLATE "C" NOT NULL,
    boot_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    asked_at BIGINT NOT NULL,
    ended_at BIGINT,
    measured_us BIGINT NOT NULL DEFAULT 0,
    what TEXT COLLATE "C" NOT NULL DEFAULT '',
    CHECK ((status IN ('passed', 'failed')) = (ended_at IS NOT NULL))
);

CREATE INDEX drills_by_end ON drills (drill, ended_at);
CREATE INDEX drills_under_way ON drills (drill, asked_at) WHERE ended_at IS NULL;

CREATE TABLE ledger_gaps (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    began_at BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    cost BIGINT CHECK (cost >= 0),
    tokens BIGINT CHECK (tokens >= 0),
    actions BIGINT CHECK (actions >= 0)
);

-- Jobs, who has claimed them, and how many there are.
-- Moments (*_at) are microseconds since 1970 UTC.

-- A unit of queued work; the id follows from its queue and its key, so that there is one a key.
-- `scheduled` and `queued` differ only by the clock: a scheduled job is queued once it is due.
-- `attempts` counts the claims that ended in a failure or with their process, and the one that
-- runs. `history` are the last failures, as JSON; `progress` is how far the last attempt came.
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    queue TEXT NOT NULL,
    job_key TEXT NOT NULL,
    payload TEXT NOT NULL,
    priority INTEGER NOT NULL,
    run_at INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (
        state IN (
            'scheduled', 'queued', 'running', 'done', 'dead', 'unknown', 'cancelled', 'discarded'
        )
    ),
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    attempts_max INTEGER NOT NULL CHECK (attempts_max > 0),
    token INTEGER,
    is_cancel_asked INTEGER NOT NULL DEFAULT 0,
    progress TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    history TEXT NOT NULL DEFAULT '[]',
    enqueued_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    CHECK ((state = 'running') = (token IS NOT NULL)),
    CHECK ((state IN ('done', 'dead', 'cancelled', 'discarded')) = (ended_at IS NOT NULL))
);

CREATE INDEX jobs_queued ON jobs (queue, priority DESC, run_at, number) WHERE state = 'queued';
CREATE INDEX jobs_scheduled ON jobs (queue, run_at) WHERE state = 'scheduled';
CREATE INDEX jobs_running ON jobs (token) WHERE state = 'running';
CREATE INDEX jobs_for_a_person ON jobs (state, number) WHERE state IN ('dead', 'unknown');

-- The same moves as jobs/job.py allows.
CREATE TRIGGER jobs_legal_moves BEFORE UPDATE OF state ON jobs
WHEN OLD.state <> NEW.state AND NOT (
    (OLD.state = 'scheduled' AND NEW.state IN ('queued', 'cancelled'))
    OR (OLD.state = 'queued' AND NEW.state IN ('running', 'cancelled'))
    OR (
        OLD.state = 'running'
        AND NEW.state IN ('scheduled', 'queued', 'done', 'dead', 'unknown', 'cancelled')
    )
    OR (OLD.state = 'unknown' AND NEW.state IN ('queued', 'done', 'cancelled'))
    OR (OLD.state = 'dead' AND NEW.state IN ('queued', 'discarded'))
)
BEGIN
    SELECT RAISE(ABORT, 'illegal move of a job');
END;

-- A batch of jobs that one tick has; its token is higher than that of every claim before it.
-- `beats` are the renewals of its lease.
CREATE TABLE job_claims (
    token INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    worker TEXT NOT NULL,
    tick INTEGER NOT NULL,
    session_id TEXT NOT NULL,
    lease_us INTEGER NOT NULL CHECK (lease_us > 0),
    beats INTEGER NOT NULL DEFAULT 0,
    claimed_at INTEGER NOT NULL
);

-- How many jobs of a queue are in a state, so that nobody has to count them.
CREATE TABLE job_counts (
    queue TEXT NOT NULL,
    state TEXT NOT NULL,
    jobs INTEGER NOT NULL,
    PRIMARY KEY (queue, state)
) WITHOUT ROWID;

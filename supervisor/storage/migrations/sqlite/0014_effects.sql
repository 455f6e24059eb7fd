-- The keys of what is done outside, once.
-- Moments (*_at) are microseconds since 1970 UTC.

-- The key of something that is done outside, once. `scope` is the queue's or the worker's.
CREATE TABLE effects (
    scope TEXT NOT NULL,
    effect_key TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('taken', 'done', 'unknown')),
    result TEXT NOT NULL DEFAULT 'null',
    boot_id TEXT NOT NULL,
    worker TEXT NOT NULL,
    tick INTEGER NOT NULL,
    job TEXT NOT NULL DEFAULT '',
    taken_at INTEGER NOT NULL,
    ended_at INTEGER,
    PRIMARY KEY (scope, effect_key),
    CHECK ((state = 'done') = (ended_at IS NOT NULL))
) WITHOUT ROWID;

CREATE INDEX effects_taken ON effects (worker, tick) WHERE state = 'taken';
CREATE INDEX effects_unknown ON effects (taken_at) WHERE state = 'unknown';

CREATE TRIGGER effects_done_once BEFORE UPDATE ON effects
WHEN OLD.state = 'done'
BEGIN
    SELECT RAISE(ABORT, 'an effect is done once');
END;

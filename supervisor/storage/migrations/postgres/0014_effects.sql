-- The keys of what is done outside, once.
-- Moments (*_at) are microseconds since 1970 UTC.

-- The key of something that is done outside, once. `scope` is the queue's or the worker's.
CREATE TABLE effects (
    scope TEXT COLLATE "C" NOT NULL,
    effect_key TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('taken', 'done', 'unknown')),
    result TEXT COLLATE "C" NOT NULL DEFAULT 'null',
    boot_id TEXT COLLATE "C" NOT NULL,
    worker TEXT COLLATE "C" NOT NULL,
    tick BIGINT NOT NULL,
    job TEXT COLLATE "C" NOT NULL DEFAULT '',
    taken_at BIGINT NOT NULL,
    ended_at BIGINT,
    PRIMARY KEY (scope, effect_key),
    CHECK ((state = 'done') = (ended_at IS NOT NULL))
);

CREATE INDEX effects_taken ON effects (worker, tick) WHERE state = 'taken';
CREATE INDEX effects_unknown ON effects (taken_at) WHERE state = 'unknown';

CREATE TRIGGER effects_done_once BEFORE UPDATE ON effects
FOR EACH ROW WHEN (
OLD.state = 'done'
)
EXECUTE FUNCTION break_rule('an effect is done once');

-- How long the key of an outside effect guards: from when it was asked for last.

DROP TRIGGER effects_done_once;

ALTER TABLE effects ADD COLUMN asked_at INTEGER;

UPDATE effects SET asked_at = ended_at;

CREATE TRIGGER effects_done_once BEFORE UPDATE ON effects
WHEN OLD.state = 'done' AND (
    NEW.state <> OLD.state OR NEW.result <> OLD.result OR NEW.ended_at <> OLD.ended_at
    OR NEW.worker <> OLD.worker OR NEW.tick <> OLD.tick OR NEW.job <> OLD.job
)
BEGIN
    SELECT RAISE(ABORT, 'an effect is done once');
END;

-- Of what is done: the keys that nobody has asked for longest.
CREATE INDEX effects_by_asking ON effects (asked_at) WHERE state = 'done';

-- On whose behalf a call is made: empty where nobody is named. The indexes hold only the calls that
-- name somebody, and those that may still be put right.
ALTER TABLE holds ADD COLUMN org TEXT NOT NULL DEFAULT '';
ALTER TABLE holds ADD COLUMN team TEXT NOT NULL DEFAULT '';
ALTER TABLE holds ADD COLUMN user_id TEXT NOT NULL DEFAULT '';
ALTER TABLE holds ADD COLUMN conversation TEXT NOT NULL DEFAULT '';

CREATE INDEX holds_of_user ON holds (user_id, placed_at) WHERE user_id <> '';
CREATE INDEX holds_of_conversation ON holds (conversation, placed_at) WHERE conversation <> '';
CREATE INDEX holds_forfeited ON holds (placed_at) WHERE status = 'forfeited';

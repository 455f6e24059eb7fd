-- What people wrote down while something went wrong. Moments are microseconds since 1970 UTC.
CREATE TABLE incidents (
    id TEXT NOT NULL PRIMARY KEY,
    title TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    opened_by TEXT NOT NULL,
    closed_at INTEGER,
    closed_by TEXT NOT NULL DEFAULT '',
    closed_why TEXT NOT NULL DEFAULT '',
    CHECK (closed_at IS NOT NULL OR closed_by = '')
) WITHOUT ROWID;

CREATE INDEX incidents_by_time ON incidents (opened_at);

CREATE TRIGGER incidents_close_once BEFORE UPDATE OF closed_at ON incidents
WHEN OLD.closed_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'an incident is closed once');
END;

-- `alert_id` and `drill_id` are empty where a note is about neither.
CREATE TABLE incident_notes (
    incident_id TEXT NOT NULL REFERENCES incidents (id),
    number INTEGER NOT NULL,
    noted_at INTEGER NOT NULL,
    noted_by TEXT NOT NULL,
    text TEXT NOT NULL,
    alert_id TEXT NOT NULL,
    drill_id TEXT NOT NULL,
    PRIMARY KEY (incident_id, number)
) WITHOUT ROWID;

-- What people wrote down while something went wrong. Moments are microseconds since 1970 UTC.
CREATE TABLE incidents (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    title TEXT COLLATE "C" NOT NULL,
    opened_at BIGINT NOT NULL,
    opened_by TEXT COLLATE "C" NOT NULL,
    closed_at BIGINT,
    closed_by TEXT COLLATE "C" NOT NULL DEFAULT '',
    closed_why TEXT COLLATE "C" NOT NULL DEFAULT '',
    CHECK (closed_at IS NOT NULL OR closed_by = '')
);

CREATE INDEX incidents_by_time ON incidents (opened_at);

CREATE TRIGGER incidents_close_once BEFORE UPDATE OF closed_at ON incidents
FOR EACH ROW WHEN (
    OLD.closed_at IS NOT NULL
)
EXECUTE FUNCTION break_rule('an incident is closed once');

-- `alert_id` and `drill_id` are empty where a note is about neither.
CREATE TABLE incident_notes (
    incident_id TEXT COLLATE "C" NOT NULL REFERENCES incidents (id),
    number BIGINT NOT NULL,
    noted_at BIGINT NOT NULL,
    noted_by TEXT COLLATE "C" NOT NULL,
    text TEXT COLLATE "C" NOT NULL,
    alert_id TEXT COLLATE "C" NOT NULL,
    drill_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (incident_id, number)
);

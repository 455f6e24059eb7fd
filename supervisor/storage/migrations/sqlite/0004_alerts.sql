-- Facts worth waking someone for, and what each channel was told of them.
-- Moments (*_at) are microseconds since 1970 UTC.

-- How far the record was read for facts. A store that is older begins now.
CREATE TABLE alert_cursor (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    position INTEGER NOT NULL
);

INSERT INTO alert_cursor (id, position) SELECT 1, COALESCE(MAX(position), 0) FROM events;

-- `key` names the fact: the same one is open once at most. `until_at` is when it is over by
-- itself, `remind_at` when it is told again.
CREATE TABLE alerts (
    id TEXT NOT NULL PRIMARY KEY,
    key TEXT NOT NULL,
    severity TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    title TEXT NOT NULL,
    what TEXT NOT NULL,
    done TEXT NOT NULL,
    command TEXT NOT NULL,
    count INTEGER NOT NULL CHECK (count > 0),
    reminders INTEGER NOT NULL CHECK (reminders >= 0),
    raised_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    until_at INTEGER,
    remind_at INTEGER,
    acknowledged_at INTEGER,
    acknowledged_by TEXT NOT NULL DEFAULT '',
    resolved_at INTEGER,
    resolved_why TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;

CREATE UNIQUE INDEX alerts_open ON alerts (key) WHERE resolved_at IS NULL;
CREATE INDEX alerts_of_key ON alerts (key, raised_at);
CREATE INDEX alerts_by_time ON alerts (raised_at);

CREATE TRIGGER alerts_end_once BEFORE UPDATE OF resolved_at ON alerts
WHEN OLD.resolved_at IS NOT NULL AND (NEW.resolved_at IS NULL OR NEW.resolved_at <> OLD.resolved_at)
BEGIN
    SELECT RAISE(ABORT, 'an alert is resolved once');
END;

-- What a channel is to be told. `next_at` is until when somebody is trying it, so that nobody
-- else does; 0 for nobody.
CREATE TABLE alert_messages (
    id TEXT NOT NULL PRIMARY KEY,
    alert_id TEXT NOT NULL REFERENCES alerts (id),
    channel TEXT NOT NULL,
    severity_rank INTEGER NOT NULL,
    body TEXT NOT NULL,
    told_at INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    last_error TEXT NOT NULL DEFAULT '',
    delivered_at INTEGER
) WITHOUT ROWID;

CREATE INDEX alert_messages_waiting ON alert_messages (channel, told_at)
    WHERE delivered_at IS NULL;
CREATE INDEX alert_messages_of_alert ON alert_messages (alert_id);

CREATE TRIGGER alert_messages_delivered_once BEFORE UPDATE OF delivered_at ON alert_messages
WHEN OLD.delivered_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a message is delivered once');
END;

-- Facts worth waking someone for, and what each channel was told of them.
-- Moments (*_at) are microseconds since 1970 UTC.

-- How far the record was read for facts. A store that is older begins now.
CREATE TABLE alert_cursor (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    position BIGINT NOT NULL
);

INSERT INTO alert_cursor (id, position) SELECT 1, COALESCE(MAX(position), 0) FROM events;

-- `key` names the fact: the same one is open once at most. `until_at` is when it is over by
-- itself, `remind_at` when it is told again.
CREATE TABLE alerts (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    key TEXT COLLATE "C" NOT NULL,
    severity TEXT COLLATE "C" NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    title TEXT COLLATE "C" NOT NULL,
    what TEXT COLLATE "C" NOT NULL,
    done TEXT COLLATE "C" NOT NULL,
    command TEXT COLLATE "C" NOT NULL,
    count BIGINT NOT NULL CHECK (count > 0),
    reminders BIGINT NOT NULL CHECK (reminders >= 0),
    raised_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    until_at BIGINT,
    remind_at BIGINT,
    acknowledged_at BIGINT,
    acknowledged_by TEXT COLLATE "C" NOT NULL DEFAULT '',
    resolved_at BIGINT,
    resolved_why TEXT COLLATE "C" NOT NULL DEFAULT ''
);

CREATE UNIQUE INDEX alerts_open ON alerts (key) WHERE resolved_at IS NULL;
CREATE INDEX alerts_of_key ON alerts (key, raised_at);
CREATE INDEX alerts_by_time ON alerts (raised_at);

CREATE TRIGGER alerts_end_once BEFORE UPDATE OF resolved_at ON alerts
FOR EACH ROW WHEN (
    OLD.resolved_at IS NOT NULL AND (NEW.resolved_at IS NULL OR NEW.resolved_at <> OLD.resolved_at)
)
EXECUTE FUNCTION break_rule('an alert is resolved once');

-- What a channel is to be told. `next_at` is until when somebody is trying it, so that nobody
-- else does; 0 for nobody.
CREATE TABLE alert_messages (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    alert_id TEXT COLLATE "C" NOT NULL REFERENCES alerts (id),
    channel TEXT COLLATE "C" NOT NULL,
    severity_rank BIGINT NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    told_at BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    last_error TEXT COLLATE "C" NOT NULL DEFAULT '',
    delivered_at BIGINT
);

CREATE INDEX alert_messages_waiting ON alert_messages (channel, told_at)
    WHERE delivered_at IS NULL;
CREATE INDEX alert_messages_of_alert ON alert_messages (alert_id);

CREATE TRIGGER alert_messages_delivered_once BEFORE UPDATE OF delivered_at ON alert_messages
FOR EACH ROW WHEN (
    OLD.delivered_at IS NOT NULL
)
EXECUTE FUNCTION break_rule('a message is delivered once');

-- Old windows are exported and pruned; what they add up to stays. As
-- migrations/sqlite/0008_retention.sql, which says what each table is for.

CREATE TABLE exports (
    number BIGINT PRIMARY KEY,
    file TEXT COLLATE "C" NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL,
    bytes BIGINT NOT NULL,
    sessions BIGINT NOT NULL,
    events BIGINT NOT NULL,
    until BIGINT NOT NULL,
    cut_at BIGINT NOT NULL,
    sums_sha256 TEXT COLLATE "C" NOT NULL,
    exported_at BIGINT NOT NULL,
    pruned_at BIGINT
);

CREATE TABLE retiring (
    session_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES sessions (id),
    export BIGINT NOT NULL REFERENCES exports (number)
);

-- A trigger's WHEN can't look into another table here, so that its function does.
CREATE FUNCTION refuse_open_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM sessions
        WHERE id = NEW.session_id AND status IN ('completed', 'aborted')
    ) THEN
        RAISE EXCEPTION 'only a session that is over is retired'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER retiring_only_sealed BEFORE INSERT ON retiring
FOR EACH ROW EXECUTE FUNCTION refuse_open_session();

CREATE FUNCTION refuse_unless_retiring() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM retiring WHERE session_id = OLD.session_id) THEN
        RAISE EXCEPTION 'events are append-only'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN OLD;
END
$$;

DROP TRIGGER events_append_only_delete ON events;

CREATE TRIGGER events_append_only_delete BEFORE DELETE ON events
FOR EACH ROW EXECUTE FUNCTION refuse_unless_retiring();

CREATE TABLE account_sums (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    limit_amount BIGINT NOT NULL,
    limit_at BIGINT NOT NULL,
    settled BIGINT NOT NULL,
    held BIGINT NOT NULL,
    overrun BIGINT NOT NULL
);

CREATE TABLE worker_sums (
    worker TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    last_tick BIGINT NOT NULL,
    last_session TEXT COLLATE "C" NOT NULL
);

CREATE TABLE state_sums (
    subject TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    at_position BIGINT NOT NULL
);

CREATE TABLE retired_usage (
    day_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    worker TEXT COLLATE "C" NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    org TEXT COLLATE "C" NOT NULL,
    team TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    cost BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    actions BIGINT NOT NULL,
    PRIMARY KEY (day_at, worker, model, org, team, user_id)
);

CREATE INDEX holds_of_session ON holds (session_id);

ALTER TABLE checkpoints DROP CONSTRAINT checkpoints_session_id_fkey;

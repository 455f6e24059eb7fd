-- The cron schedules of workers: `taken_at` is the last occurrence that was taken or given up, in
-- microseconds since 1970 UTC. It is what makes each occurrence run once, also over several daemons.
CREATE TABLE schedules (
    worker TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    schedule TEXT COLLATE "C" NOT NULL,
    taken_at BIGINT NOT NULL
);

-- What workers remember, each in a space of its own.

-- A JSON value by its key; `value_bytes` is what it counts as.
CREATE TABLE memories (
    worker TEXT COLLATE "C" NOT NULL,
    memory_key TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    value_bytes BIGINT NOT NULL CHECK (value_bytes >= 0),
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (worker, memory_key)
);

-- What a worker's memories add up to, so that nobody has to count them.
CREATE TABLE memory_totals (
    worker TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    total_bytes BIGINT NOT NULL CHECK (total_bytes >= 0)
);

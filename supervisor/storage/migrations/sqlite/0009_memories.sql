-- What workers remember, each in a space of its own.

-- A JSON value by its key; `value_bytes` is what it counts as.
CREATE TABLE memories (
    worker TEXT NOT NULL,
    memory_key TEXT NOT NULL,
    value TEXT NOT NULL,
    value_bytes INTEGER NOT NULL CHECK (value_bytes >= 0),
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (worker, memory_key)
) WITHOUT ROWID;

-- What a worker's memories add up to, so that nobody has to count them.
CREATE TABLE memory_totals (
    worker TEXT NOT NULL PRIMARY KEY,
    total_bytes INTEGER NOT NULL CHECK (total_bytes >= 0)
) WITHOUT ROWID;

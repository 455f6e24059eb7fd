-- What workers have published, so that the same thing is seen to come again.

-- An output by what it says (a hash) and its key; a worker's newest ones are kept.
CREATE TABLE outputs (
    worker TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    output_key TEXT NOT NULL,
    published_at INTEGER NOT NULL,
    PRIMARY KEY (worker, fingerprint, output_key)
) WITHOUT ROWID;

CREATE INDEX outputs_by_time ON outputs (worker, published_at);

-- What workers have published, so that the same thing is seen to come again.

-- An output by what it says (a hash) and its key; a worker's newest ones are kept.
CREATE TABLE outputs (
    worker TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    output_key TEXT COLLATE "C" NOT NULL,
    published_at BIGINT NOT NULL,
    PRIMARY KEY (worker, fingerprint, output_key)
);

CREATE INDEX outputs_by_time ON outputs (worker, published_at);

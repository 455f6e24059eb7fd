-- How far long work has come, so that it goes on where it was.
-- Moments (*_at) are microseconds since 1970 UTC.

-- One row for each loop of a job or of a worker's ticks: `owner` is `job:ID` or `worker:NAME`, and
-- `job` empty for the latter. `worker` and `tick` were the last ones at it. `done` items are
-- committed, the last of them `last_item`; `item` is the one in work, where that takes long.
-- `kept` is what the work carries from item to item, as JSON. `began_at` and `began_done` are of
-- the attempt that runs, for its pace.
CREATE TABLE progress (
    owner TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    job TEXT COLLATE "C" NOT NULL,
    worker TEXT COLLATE "C" NOT NULL,
    tick BIGINT NOT NULL,
    done BIGINT NOT NULL CHECK (done >= 0),
    total BIGINT CHECK (total >= 0),
    last_item TEXT COLLATE "C" NOT NULL DEFAULT '',
    item TEXT COLLATE "C" NOT NULL DEFAULT '',
    kept TEXT COLLATE "C" NOT NULL DEFAULT '{}',
    began_at BIGINT NOT NULL,
    began_done BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (owner, name)
);

CREATE INDEX progress_of_tick ON progress (worker, tick);

-- Never used.
ALTER TABLE jobs DROP COLUMN progress;

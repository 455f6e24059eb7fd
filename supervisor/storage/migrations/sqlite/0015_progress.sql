-- How far long work has come, so that it goes on where it was.
-- Moments (*_at) are microseconds since 1970 UTC.

-- One row for each loop of a job or of a worker's ticks: `owner` is `job:ID` or `worker:NAME`, and
-- `job` empty for the latter. `worker` and `tick` were the last ones at it. `done` items are
-- committed, the last of them `last_item`; `item` is the one in work, where that takes long.
-- `kept` is what the work carries from item to item, as JSON. `began_at` and `began_done` are of
-- the attempt that runs, for its pace.
CREATE TABLE progress (
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    job TEXT NOT NULL,
    worker TEXT NOT NULL,
    tick INTEGER NOT NULL,
    done INTEGER NOT NULL CHECK (done >= 0),
    total INTEGER CHECK (total >= 0),
    last_item TEXT NOT NULL DEFAULT '',
    item TEXT NOT NULL DEFAULT '',
    kept TEXT NOT NULL DEFAULT '{}',
    began_at INTEGER NOT NULL,
    began_done INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (owner, name)
) WITHOUT ROWID;

CREATE INDEX progress_of_tick ON progress (worker, tick);

-- Never used.
ALTER TABLE jobs DROP COLUMN progress;

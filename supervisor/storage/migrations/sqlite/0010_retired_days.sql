-- What retired windows were worth looking at: a day's figures of a worker, folded from its events
-- before they went, as JSON. `day_at` is the local midnight with which the day began, and the worker
-- is empty where a call was put right whose own record had gone before.
CREATE TABLE retired_days (
    day_at INTEGER NOT NULL,
    worker TEXT NOT NULL,
    figures TEXT NOT NULL,
    PRIMARY KEY (day_at, worker)
) WITHOUT ROWID;

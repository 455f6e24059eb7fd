-- What retired windows were worth looking at. As migrations/sqlite/0010_retired_days.sql, which says
-- what each column is for.
CREATE TABLE retired_days (
    day_at BIGINT NOT NULL,
    worker TEXT COLLATE "C" NOT NULL,
    figures TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (day_at, worker)
);

-- Breakers on failures, on the rate of spending and on no progress; a probe of their own.

-- What opened it; how often on end; failures in a row; and the tick or the call that is its probe.
ALTER TABLE breakers ADD COLUMN cause TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE breakers ADD COLUMN openings BIGINT NOT NULL DEFAULT 0;
ALTER TABLE breakers ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;
ALTER TABLE breakers ADD COLUMN probe_worker TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE breakers ADD COLUMN probe_tick BIGINT NOT NULL DEFAULT 0;
ALTER TABLE breakers ADD COLUMN probe_hold TEXT COLLATE "C" NOT NULL DEFAULT '';

-- The worker's last call with its result, as a hash, and how often it came in a row.
ALTER TABLE workers ADD COLUMN last_call TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE workers ADD COLUMN repeats BIGINT NOT NULL DEFAULT 0;

-- Breakers on failures, on the rate of spending and on no progress; a probe of their own.

-- What opened it; how often on end; failures in a row; and the tick or the call that is its probe.
ALTER TABLE breakers ADD COLUMN cause TEXT NOT NULL DEFAULT '';
ALTER TABLE breakers ADD COLUMN openings INTEGER NOT NULL DEFAULT 0;
ALTER TABLE breakers ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE breakers ADD COLUMN probe_worker TEXT NOT NULL DEFAULT '';
ALTER TABLE breakers ADD COLUMN probe_tick INTEGER NOT NULL DEFAULT 0;
ALTER TABLE breakers ADD COLUMN probe_hold TEXT NOT NULL DEFAULT '';

-- The worker's last call with its result, as a hash, and how often it came in a row.
ALTER TABLE workers ADD COLUMN last_call TEXT NOT NULL DEFAULT '';
ALTER TABLE workers ADD COLUMN repeats INTEGER NOT NULL DEFAULT 0;

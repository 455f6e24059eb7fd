-- What the audit reads ahead for a page of events: a statement a page, not one for each row.

-- name: ticks
SELECT number, session_id, outcome FROM ticks
WHERE worker = :worker AND number BETWEEN :first AND :last

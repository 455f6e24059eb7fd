-- name: one
SELECT id, title, opened_at, opened_by, closed_at, closed_by, closed_why
FROM incidents
WHERE id = :id

-- name: newest
SELECT id, title, opened_at, opened_by, closed_at, closed_by, closed_why
FROM incidents
WHERE closed_at IS NULL OR :is_all = 1
ORDER BY opened_at DESC, id DESC
LIMIT :rows_max

-- name: open
INSERT INTO incidents (id, title, opened_at, opened_by) VALUES (:id, :title, :now, :by)

-- name: close
UPDATE incidents SET closed_at = :now, closed_by = :by, closed_why = :why
WHERE id = :id AND closed_at IS NULL

-- name: note
INSERT INTO incident_notes (
    incident_id, number, noted_at, noted_by, text, alert_id, drill_id
)
SELECT :id, count(*) + 1, :now, :by, :text, :alert_id, :drill_id
FROM incident_notes
WHERE incident_id = :id

-- name: notes
SELECT number, noted_at, noted_by, text, alert_id, drill_id
FROM incident_notes
WHERE incident_id = :id
ORDER BY number

-- name: drill
SELECT id, drill, status, what FROM drills WHERE id = :id

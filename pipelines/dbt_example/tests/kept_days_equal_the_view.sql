-- Fails with each row that is in the view or in the kept table alone.
{% set columns = "assignment_id, day, person_id, activity_definition_id, minutes_with_breaks, planned_minutes" %}
WITH seen AS (
    SELECT {{ columns }} FROM {{ source('protime', 'assignment_days') }}
), kept AS (
    SELECT {{ columns }} FROM {{ ref('kept_assignment_days') }} WHERE day IS NOT NULL
)
(SELECT * FROM seen EXCEPT ALL SELECT * FROM kept)
UNION ALL
(SELECT * FROM kept EXCEPT ALL SELECT * FROM seen)

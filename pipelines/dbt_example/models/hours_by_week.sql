SELECT
    CAST(date_trunc('week', day) AS date) AS week,
    activity_definition_id,
    count(DISTINCT person_id) AS people,
    sum(planned_minutes) / 60.0 AS planned_hours
FROM {{ ref('kept_assignment_days') }}
WHERE day IS NOT NULL
GROUP BY 1, 2

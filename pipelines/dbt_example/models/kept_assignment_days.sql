-- The assignments that were written since the last time: all their days are replaced. One that is deleted
-- or rejected by now has no day any more, and stays as one row with an empty day, so that no run misses it.
{{ config(
    materialized="incremental",
    incremental_strategy="delete+insert",
    unique_key="assignment_id",
) }}

SELECT
    a.id AS assignment_id,
    d.day,
    d.person_id,
    d.activity_definition_id,
    d.minutes_with_breaks,
    d.planned_minutes,
    a.synced_at
FROM {{ source('protime', 'assignments') }} AS a
LEFT JOIN {{ source('protime', 'assignment_days') }} AS d ON d.assignment_id = a.id
{% if is_incremental() %}
WHERE a.synced_at > (
    SELECT coalesce(max(synced_at), CAST('1970-01-01 00:00:00+00' AS timestamptz)) FROM {{ this }}
)
{% endif %}

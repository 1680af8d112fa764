"""The models of the plan: assignments as they stand, by day, and by half hour."""

from __future__ import annotations

from protime_source.models.model import ACTIVITY, ASSIGNMENT, PERSON, Model, ModelColumn

LONGEST_DAYS = 366
"""The days on which one assignment counts at most: a date far away means no end."""

_DAY = ModelColumn(
    "day", "date", "The day that the work belongs to, also when it ends after midnight."
)

CURRENT_ASSIGNMENTS = Model(
    name="current_assignments",
    grain="One row per assignment that is live and not rejected.",
    needs=("assignments", "assignments__activity_levels"),
    uses=("people", "activity_definitions"),
    columns=(
        ASSIGNMENT,
        PERSON,
        ModelColumn("last_name", "text", "Last name; empty unless people is loaded."),
        ModelColumn("first_name", "text", "First name; empty unless people is loaded."),
        ModelColumn("employee_number", "text", "Employee number; empty unless people is loaded."),
        ModelColumn("from_date", "date", "First day."),
        ModelColumn("until_date", "date", "Last day; may be empty."),
        ModelColumn("start_time_in_minutes", "bigint", "Start, in minutes since midnight."),
        ModelColumn("end_time_in_minutes", "bigint", "End, in minutes since midnight."),
        ModelColumn("break_duration_in_minutes", "bigint", "Length of the break in minutes."),
        ModelColumn(
            "minutes_with_breaks",
            "bigint",
            "End minus start, in minutes of each day; empty unless both are there and in order.",
        ),
        ModelColumn(
            "planned_minutes",
            "bigint",
            "The same without the break, never below 0.",
        ),
        *ACTIVITY,
        ModelColumn("comments", "text", "Free text."),
        ModelColumn("synced_at", "timestamp", "When the assignment was last written here (UTC)."),
    ),
    assumptions=(
        "A rejected assignment is no plan.",
        "Names are the last-known ones, also of people and activities that are deleted.",
        "An end before its start, like a start or end that is missing, gives no minutes.",
        "An empty break is none.",
    ),
    question="Who is planned on 2 March 2026, and from when to when?",
    example="""
SELECT last_name, first_name, start_time_in_minutes, end_time_in_minutes, activity
FROM protime_data.current_assignments
WHERE DATE '2026-03-02' BETWEEN from_date AND coalesce(until_date, from_date)
ORDER BY start_time_in_minutes
""",
    query="""
SELECT
  timed.id AS assignment_id,
  timed.person_id,
  people.last_name,
  people.first_name,
  people.employee_number,
  timed.from_date,
  timed.until_date,
  timed.start_time_in_minutes,
  timed.end_time_in_minutes,
  timed.break_duration_in_minutes,
  timed.minutes_with_breaks,
  CASE
    WHEN timed.minutes_with_breaks IS NOT NULL
      THEN GREATEST(timed.minutes_with_breaks - COALESCE(timed.break_duration_in_minutes, 0), 0)
  END AS planned_minutes,
  deepest.activity_definition_id,
  activity_definitions.name AS activity,
  timed.comments,
  timed.synced_at
FROM (
  SELECT
    a.id,
    a.person_id,
    a.from_date,
    a.until_date,
    a.start_time_in_minutes,
    a.end_time_in_minutes,
    a.break_duration_in_minutes,
    a.comments,
    a.synced_at,
    CASE
      WHEN a.end_time_in_minutes >= a.start_time_in_minutes
        THEN a.end_time_in_minutes - a.start_time_in_minutes
    END AS minutes_with_breaks
  FROM assignments AS a
  WHERE NOT a.is_deleted AND NOT COALESCE(a.is_rejected, FALSE)
) AS timed
LEFT JOIN (
  SELECT
    l.assignment_id,
    NULLIF(SUBSTR(MAX(CONCAT(
      LPAD(CAST(COALESCE(l.level, 0) AS STRING), 10, '0'), COALESCE(l.activity_definition_id, '')
    )), 11), '') AS activity_definition_id
  FROM assignments__activity_levels AS l
  GROUP BY l.assignment_id
) AS deepest ON deepest.assignment_id = timed.id
LEFT JOIN people ON people.id = timed.person_id
LEFT JOIN activity_definitions ON activity_definitions.id = deepest.activity_definition_id
""",
)

ASSIGNMENT_DAYS = Model(
    name="assignment_days",
    grain="One row per current assignment and day of it.",
    needs=("current_assignments",),
    uses=(),
    columns=(
        ASSIGNMENT,
        PERSON,
        _DAY,
        ModelColumn("start_time_in_minutes", "bigint", "Start, in minutes since midnight."),
        ModelColumn("end_time_in_minutes", "bigint", "End, in minutes since midnight."),
        ModelColumn(
            "minutes_with_breaks",
            "bigint",
            "Planned minutes, breaks included; empty without usable times.",
        ),
        ModelColumn("planned_minutes", "bigint", "Planned minutes without the break."),
        ModelColumn("is_open", "bool", "Whether the assignment has no last day."),
        *ACTIVITY,
    ),
    assumptions=(
        "An assignment over several days means the same times on each of them, from its first day"
        " to its last.",
        "An assignment without a last day, or with one before its first, counts on its first day"
        " only; `is_open` tells the former.",
        f"An assignment of more than {LONGEST_DAYS} days counts on its first {LONGEST_DAYS}.",
    ),
    question="On how many days is each activity planned in March 2026?",
    example="""
SELECT activity, count(DISTINCT day) AS days
FROM protime_data.assignment_days
WHERE day BETWEEN DATE '2026-03-01' AND DATE '2026-03-31'
GROUP BY activity
""",
    query=f"""
SELECT
  c.assignment_id,
  c.person_id,
  DATE_ADD(c.from_date, INTERVAL number DAY) AS day,
  c.start_time_in_minutes,
  c.end_time_in_minutes,
  c.minutes_with_breaks,
  c.planned_minutes,
  c.until_date IS NULL AS is_open,
  c.activity_definition_id,
  c.activity
FROM current_assignments AS c
CROSS JOIN UNNEST(GENERATE_ARRAY(0, LEAST(
  GREATEST(DATE_DIFF(COALESCE(c.until_date, c.from_date), c.from_date, DAY), 0),
  {LONGEST_DAYS - 1}
))) AS number
WHERE c.from_date IS NOT NULL
""",
)

PLANNED_DAYS = Model(
    name="planned_days",
    grain="One row per person and day with a plan.",
    needs=("assignment_days",),
    uses=(),
    columns=(
        PERSON,
        _DAY,
        ModelColumn("assignments", "bigint", "Number of assignments."),
        ModelColumn(
            "untimed_assignments",
            "bigint",
            "Those of them without usable times; they add no minutes.",
        ),
        ModelColumn("open_assignments", "bigint", "Those of them without a last day."),
        ModelColumn(
            "start_time_in_minutes", "bigint", "Earliest start, in minutes since midnight."
        ),
        ModelColumn("end_time_in_minutes", "bigint", "Latest end, in minutes since midnight."),
        ModelColumn(
            "minutes_with_breaks",
            "bigint",
            "Planned minutes, breaks included; empty when no assignment has usable times.",
        ),
        ModelColumn(
            "planned_minutes", "bigint", "Planned minutes without breaks; empty in the same case."
        ),
    ),
    assumptions=(
        "Minutes of assignments that overlap are added.",
        "Start and end are those of assignments with usable times.",
    ),
    question="How many hours is each person planned in March 2026?",
    example="""
SELECT person_id, sum(planned_minutes) / 60.0 AS hours, sum(untimed_assignments) AS without_times
FROM protime_data.planned_days
WHERE day BETWEEN DATE '2026-03-01' AND DATE '2026-03-31'
GROUP BY person_id
""",
    query="""
SELECT
  d.person_id,
  d.day,
  COUNT(*) AS assignments,
  SUM(CASE WHEN d.minutes_with_breaks IS NULL THEN 1 ELSE 0 END) AS untimed_assignments,
  SUM(CASE WHEN d.is_open THEN 1 ELSE 0 END) AS open_assignments,
  MIN(CASE WHEN d.minutes_with_breaks IS NOT NULL THEN d.start_time_in_minutes END)
    AS start_time_in_minutes,
  MAX(CASE WHEN d.minutes_with_breaks IS NOT NULL THEN d.end_time_in_minutes END)
    AS end_time_in_minutes,
  SUM(d.minutes_with_breaks) AS minutes_with_breaks,
  SUM(d.planned_minutes) AS planned_minutes
FROM assignment_days AS d
GROUP BY d.person_id, d.day
""",
)

COVERAGE = Model(
    name="coverage",
    grain="One row per half hour of the calendar, activity and department with somebody planned.",
    needs=("assignment_days",),
    uses=("department_histories", "departments"),
    columns=(
        ModelColumn("day", "date", "The day of the calendar on which the half hour is."),
        ModelColumn(
            "start_time_in_minutes",
            "bigint",
            "Start of the half hour, in minutes since midnight: 0 to 1410.",
        ),
        *ACTIVITY,
        ModelColumn(
            "department_id",
            "bigint",
            "The person's department; empty unless department_histories is loaded and has one.",
            refers="departments",
        ),
        ModelColumn(
            "department", "text", "Name of the department; empty unless departments is loaded."
        ),
        ModelColumn("people", "bigint", "Number of people who are planned in the half hour."),
        ModelColumn(
            "minutes_with_breaks",
            "bigint",
            "The minutes of it that they are planned, breaks included.",
        ),
    ),
    assumptions=(
        "A night is split at midnight: the hours after it are on the next day of the calendar.",
        "Who is planned in a part of a half hour counts as one; the minutes say how much.",
        "Breaks are not taken out, because Protime does not say when they are. The minutes of all"
        " rows add up to those of `planned_days`, breaks included.",
        "Who has two activities in a half hour counts in each of them.",
        "The department is that of the day that the work belongs to; of two at a time, the one"
        " that began later.",
        "Times are those of the clock on the wall: the hour that summer time skips or repeats is"
        " counted as any other.",
    ),
    question="In which half hours of 2 March 2026 are fewer than three people planned?",
    example="""
SELECT start_time_in_minutes, sum(people) AS people
FROM protime_data.coverage
WHERE day = DATE '2026-03-02'
GROUP BY start_time_in_minutes
HAVING sum(people) < 3
ORDER BY start_time_in_minutes
""",
    query="""
WITH periods AS (
  SELECT
    department_histories.person_id,
    department_histories.department_id,
    department_histories.from_date,
    department_histories.until_date,
    LEAD(department_histories.from_date) OVER (
      PARTITION BY department_histories.person_id
      ORDER BY department_histories.from_date, department_histories.id
    ) AS next_from_date
  FROM department_histories
  WHERE NOT department_histories.is_deleted AND department_histories.from_date IS NOT NULL
), spans AS (
  SELECT
    d.person_id,
    d.day,
    d.start_time_in_minutes,
    d.end_time_in_minutes,
    d.activity_definition_id,
    d.activity,
    p.department_id
  FROM assignment_days AS d
  LEFT JOIN periods AS p
    ON p.person_id = d.person_id
    AND p.from_date <= d.day
    AND (p.until_date IS NULL OR p.until_date >= d.day)
    AND (p.next_from_date IS NULL OR p.next_from_date > d.day)
  WHERE d.minutes_with_breaks > 0
), placed AS (
  SELECT
    s.*,
    CAST(FLOOR(slice / 48) AS INT64) AS days_later,
    slice
  FROM spans AS s
  CROSS JOIN UNNEST(GENERATE_ARRAY(
    CAST(FLOOR(s.start_time_in_minutes / 30) AS INT64),
    CAST(CEIL(s.end_time_in_minutes / 30) AS INT64) - 1
  )) AS slice
)
SELECT
  g.day,
  g.start_time_in_minutes,
  g.activity_definition_id,
  g.activity,
  g.department_id,
  departments.name AS department,
  g.people,
  g.minutes_with_breaks
FROM (
  SELECT
    DATE_ADD(p.day, INTERVAL p.days_later DAY) AS day,
    (p.slice - p.days_later * 48) * 30 AS start_time_in_minutes,
    p.activity_definition_id,
    MAX(p.activity) AS activity,
    p.department_id,
    COUNT(DISTINCT p.person_id) AS people,
    SUM(
      LEAST(p.end_time_in_minutes, p.slice * 30 + 30)
        - GREATEST(p.start_time_in_minutes, p.slice * 30)
    ) AS minutes_with_breaks
  FROM placed AS p
  GROUP BY 1, 2, 3, 5
) AS g
LEFT JOIN departments ON departments.id = g.department_id
""",
)

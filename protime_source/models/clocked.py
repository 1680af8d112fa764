"""The model that compares the plan with what was clocked."""

from __future__ import annotations

from protime_source.models.model import PERSON, TODAY, Model, ModelColumn

PLANNED_VS_CLOCKED = Model(
    name="planned_vs_clocked",
    grain="One row per person and day with a plan or with clockings.",
    needs=("planned_days", "clockings"),
    uses=("absence_days",),
    columns=(
        PERSON,
        ModelColumn("day", "date", "The day that the work belongs to."),
        ModelColumn(
            "status",
            "text",
            "`planned and clocked`, `clocked without plan`, `to come` (today or later and not"
            " clocked), `absent` (in `absence_days` and not clocked) or `not clocked`.",
        ),
        ModelColumn(
            "planned_minutes",
            "bigint",
            "Planned minutes without breaks; empty without a plan that has times.",
        ),
        ModelColumn("planned_minutes_with_breaks", "bigint", "The same, breaks included."),
        ModelColumn(
            "clocked_minutes",
            "bigint",
            "Minutes between each clocking in and the next one out; empty without such a pair.",
        ),
        ModelColumn(
            "variance_in_minutes",
            "bigint",
            "Clocked minus planned, where breaks are clocked; empty unless both are there.",
        ),
        ModelColumn(
            "variance_with_breaks_in_minutes",
            "bigint",
            "Clocked minus planned with breaks, where breaks are not clocked.",
        ),
        ModelColumn("clockings", "bigint", "Number of clockings in and out."),
        ModelColumn(
            "unpaired_clockings", "bigint", "1 when their number is odd: the last one has no pair."
        ),
        ModelColumn(
            "untimed_assignments",
            "bigint",
            "Assignments without usable times, which add nothing to what is planned.",
        ),
    ),
    assumptions=(
        "Protime does not say which clocking is in and which is out: of one day's, in the order of"
        " their times, the first is in, the second out, and so on.",
        "Only clockings of kind `InOut` count, with their time after corrections by hand"
        " (`time_of_day_in_minutes`), on the day that Protime gives them.",
        "A break that nobody clocks is in the clocked minutes: compare with"
        " `variance_with_breaks_in_minutes` then.",
    ),
    question="Who worked in February 2026 without a plan?",
    example="""
SELECT person_id, day, clocked_minutes
FROM protime_data.planned_vs_clocked
WHERE status = 'clocked without plan' AND day BETWEEN DATE '2026-02-01' AND DATE '2026-02-28'
""",
    query=f"""
WITH ordered AS (
  SELECT
    k.person_id,
    k.date AS day,
    k.time_of_day_in_minutes AS clocked_at,
    ROW_NUMBER() OVER (
      PARTITION BY k.person_id, k.date ORDER BY k.time_of_day_in_minutes, k.id
    ) AS place,
    LEAD(k.time_of_day_in_minutes) OVER (
      PARTITION BY k.person_id, k.date ORDER BY k.time_of_day_in_minutes, k.id
    ) AS next_at
  FROM clockings AS k
  WHERE NOT k.is_deleted AND k.kind = 'InOut' AND k.time_of_day_in_minutes IS NOT NULL
), clocked AS (
  SELECT
    o.person_id,
    o.day,
    COUNT(*) AS clockings,
    SUM(CASE WHEN MOD(o.place, 2) = 1 THEN o.next_at - o.clocked_at END) AS clocked_minutes
  FROM ordered AS o
  GROUP BY o.person_id, o.day
), absent AS (
  SELECT DISTINCT absence_days.person_id, absence_days.day
  FROM absence_days
), days AS (
  SELECT
    COALESCE(p.person_id, c.person_id) AS person_id,
    COALESCE(p.day, c.day) AS day,
    p.assignments,
    p.untimed_assignments,
    p.planned_minutes,
    p.minutes_with_breaks,
    c.clocked_minutes,
    c.clockings
  FROM planned_days AS p
  FULL JOIN clocked AS c ON c.person_id = p.person_id AND c.day = p.day
)
SELECT
  d.person_id,
  d.day,
  CASE
    WHEN d.assignments IS NULL THEN 'clocked without plan'
    WHEN d.clockings IS NOT NULL THEN 'planned and clocked'
    WHEN d.day >= {TODAY} THEN 'to come'
    WHEN a.day IS NOT NULL THEN 'absent'
    ELSE 'not clocked'
  END AS status,
  d.planned_minutes,
  d.minutes_with_breaks AS planned_minutes_with_breaks,
  d.clocked_minutes,
  d.clocked_minutes - d.planned_minutes AS variance_in_minutes,
  d.clocked_minutes - d.minutes_with_breaks AS variance_with_breaks_in_minutes,
  COALESCE(d.clockings, 0) AS clockings,
  MOD(COALESCE(d.clockings, 0), 2) AS unpaired_clockings,
  COALESCE(d.untimed_assignments, 0) AS untimed_assignments
FROM days AS d
LEFT JOIN absent AS a ON a.person_id = d.person_id AND a.day = d.day
""",
)

"""The model of changes to the plan, and how long before the work they came."""

from __future__ import annotations

from protime_source.models.model import ASSIGNMENT, TIME_ZONE, Model, ModelColumn

_COMPARED = (
    "person_id",
    "from_date",
    "until_date",
    "start_time_in_minutes",
    "end_time_in_minutes",
)
"""What makes a change a move."""

_NEW = ",\n    ".join(f"h.{name}" for name in _COMPARED)
_OLD = ",\n    ".join(f"LAG(h.{name}) OVER by_version AS old_{name}" for name in _COMPARED)
_DIFFERS = " OR ".join(f"v.{name} IS DISTINCT FROM v.old_{name}" for name in _COMPARED)
_WORKING_DAYS = "CAST(FLOOR({0} / 7) AS INT64) * 5 + LEAST(MOD({0}, 7), 5)"
"""The days from Monday to Friday before a day that is counted from a Monday."""
_MONDAY = "DATE '1900-01-01'"

SHORT_NOTICE_CHANGES = Model(
    name="short_notice_changes",
    grain="One row per change that added, moved or cancelled a planned assignment.",
    needs=("assignments__history", "sync_runs"),
    uses=(),
    columns=(
        ASSIGNMENT,
        ModelColumn("recorded_at", "timestamp", "When this warehouse learnt of the change (UTC)."),
        ModelColumn(
            "change",
            "text",
            "`added`; `moved`: another person, day or time; or `cancelled`: deleted or rejected.",
        ),
        ModelColumn("person_id", "bigint", "The person, after the change.", refers="people"),
        ModelColumn("from_date", "date", "First day, after the change."),
        ModelColumn("start_time_in_minutes", "bigint", "Start, after the change."),
        ModelColumn("end_time_in_minutes", "bigint", "End, after the change."),
        ModelColumn("old_person_id", "bigint", "The person before; empty when it was added."),
        ModelColumn("old_from_date", "date", "First day before."),
        ModelColumn("old_start_time_in_minutes", "bigint", "Start before."),
        ModelColumn("old_end_time_in_minutes", "bigint", "End before."),
        ModelColumn(
            "lead_time_in_minutes",
            "bigint",
            "Minutes from the change to the start of the work; below 0 when it came later.",
        ),
        ModelColumn(
            "lead_working_days",
            "bigint",
            "Days from Monday to Friday between the day of the change and the day of the work,"
            " neither of them counted.",
        ),
        ModelColumn(
            "notice",
            "text",
            "`after the start`, `under 24 hours`, `under 4 days`, `under 7 working days` or"
            " `7 working days or more`: the narrowest that is true.",
        ),
        ModelColumn(
            "is_short_notice",
            "bool",
            "Whether it came before the start and under 7 working days, the Belgian window.",
        ),
    ),
    assumptions=(
        "A change counts from the moment that this warehouse learnt of it, which is after it was"
        " made: load often. A change that was made and undone between two runs is not there.",
        "What the first load found is the plan to begin with, not a change. Switch `history` on"
        " with the first load: what changed before it was on counts as added at that time.",
        "The start of the work is that of the first day; of a move, the earlier one of before and"
        " after. Without a start time it is midnight.",
        f"A moment is compared with local times in the zone {TIME_ZONE}.",
        "Working days are Monday to Friday; public holidays are not known here, so the true number"
        " may be lower.",
        "Changes of break, comments or activity are not moves.",
    ),
    question="How many changes of each kind came at short notice, by month?",
    example="""
SELECT extract(year FROM recorded_at) AS year, extract(month FROM recorded_at) AS month,
    change, count(*) AS changes
FROM protime_data.short_notice_changes
WHERE is_short_notice
GROUP BY 1, 2, 3
""",
    query=f"""
WITH first_success AS (
  SELECT MIN(r.ended_at) AS ended_at
  FROM sync_runs AS r
  WHERE r.table_name = 'assignments' AND r.outcome = 'succeeded'
), versions AS (
  SELECT
    h.id,
    h.recorded_at,
    {_NEW},
    NOT h.is_deleted AND NOT COALESCE(h.is_rejected, FALSE) AS is_planned,
    LAG(NOT h.is_deleted AND NOT COALESCE(h.is_rejected, FALSE)) OVER by_version AS was_planned,
    {_OLD}
  FROM assignments__history AS h
  WINDOW by_version AS (PARTITION BY h.id ORDER BY h.recorded_at)
), changes AS (
  SELECT
    v.*,
    DATETIME(v.recorded_at, '{TIME_ZONE}') AS local_recorded_at,
    CASE
      WHEN v.is_planned AND v.was_planned IS NULL AND v.recorded_at <= f.ended_at THEN NULL
      WHEN v.is_planned AND NOT COALESCE(v.was_planned, FALSE) THEN 'added'
      WHEN v.is_planned AND ({_DIFFERS}) THEN 'moved'
      WHEN NOT v.is_planned AND v.was_planned THEN 'cancelled'
    END AS change
  FROM versions AS v
  CROSS JOIN first_success AS f
  WHERE f.ended_at IS NOT NULL
), moments AS (
  SELECT
    c.*,
    DATE_DIFF(CAST(c.local_recorded_at AS DATE), {_MONDAY}, DAY) AS recorded_day,
    CAST(EXTRACT(HOUR FROM c.local_recorded_at) AS INT64) * 60
      + CAST(EXTRACT(MINUTE FROM c.local_recorded_at) AS INT64) AS recorded_minute,
    DATE_DIFF(c.from_date, {_MONDAY}, DAY) * 1440 + COALESCE(c.start_time_in_minutes, 0)
      AS new_start,
    DATE_DIFF(c.old_from_date, {_MONDAY}, DAY) * 1440 + COALESCE(c.old_start_time_in_minutes, 0)
      AS old_start
  FROM changes AS c
  WHERE c.change IS NOT NULL
), starts AS (
  SELECT
    m.*,
    CASE
      WHEN m.change = 'added' THEN m.new_start
      WHEN m.change = 'cancelled' THEN m.old_start
      ELSE LEAST(m.new_start, m.old_start)
    END AS start
  FROM moments AS m
), calendar AS (
  SELECT
    s.*,
    CAST(FLOOR(s.start / 1440) AS INT64) AS start_day,
    s.recorded_day + 1 AS next_day
  FROM starts AS s
), leads AS (
  SELECT
    c.*,
    c.start - c.recorded_day * 1440 - c.recorded_minute AS lead_time_in_minutes,
    GREATEST({_WORKING_DAYS.format("c.start_day")} - ({_WORKING_DAYS.format("c.next_day")}), 0)
      AS lead_working_days
  FROM calendar AS c
)
SELECT
  l.id AS assignment_id,
  l.recorded_at,
  l.change,
  l.person_id,
  l.from_date,
  l.start_time_in_minutes,
  l.end_time_in_minutes,
  CASE WHEN l.change <> 'added' THEN l.old_person_id END AS old_person_id,
  CASE WHEN l.change <> 'added' THEN l.old_from_date END AS old_from_date,
  CASE WHEN l.change <> 'added' THEN l.old_start_time_in_minutes END AS old_start_time_in_minutes,
  CASE WHEN l.change <> 'added' THEN l.old_end_time_in_minutes END AS old_end_time_in_minutes,
  l.lead_time_in_minutes,
  l.lead_working_days,
  CASE
    WHEN l.lead_time_in_minutes < 0 THEN 'after the start'
    WHEN l.lead_time_in_minutes < 1440 THEN 'under 24 hours'
    WHEN l.lead_time_in_minutes < 5760 THEN 'under 4 days'
    WHEN l.lead_working_days < 7 THEN 'under 7 working days'
    ELSE '7 working days or more'
  END AS notice,
  l.lead_time_in_minutes >= 0 AND l.lead_working_days < 7 AS is_short_notice
FROM leads AS l
""",
)

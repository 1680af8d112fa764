"""The models of absences: by day, in spells, and the Bradford factor."""

from __future__ import annotations

from protime_source.models.model import PERSON, TODAY, Model, ModelColumn

_GROUP = (
    ModelColumn(
        "absence_group_id",
        "bigint",
        "The group of the kind of absence, like illness.",
        refers="absence_groups",
    ),
    ModelColumn(
        "absence_group", "text", "Name of the group; empty unless absence_groups is loaded."
    ),
)

ABSENCE_DAYS = Model(
    name="absence_days",
    grain="One row per person, day and kind of absence.",
    needs=("absences",),
    uses=("absence_definitions", "absence_groups"),
    columns=(
        PERSON,
        ModelColumn("day", "date", "The day."),
        ModelColumn(
            "absence_definition_id",
            "bigint",
            "The kind of absence that applies in the end.",
            refers="absence_definitions",
        ),
        ModelColumn(
            "absence", "text", "Name of the kind; empty unless absence_definitions is loaded."
        ),
        *_GROUP,
        ModelColumn(
            "absence_group_type",
            "text",
            "`Absence`, `WorkingElsewhere` or `Unknown`; empty unless absence_groups is loaded.",
        ),
        ModelColumn("days", "double", "0.5 for half a day, 1 otherwise."),
        ModelColumn("minutes", "bigint", "Minutes of absence, after Protime's calculation."),
    ),
    assumptions=(
        "An absence counts when its `approval_level` is `Approved`, `Unknown` or empty: what awaits"
        " approval or was not approved is not there.",
        "An absence of some hours counts as a whole day unless Protime calls it the first or second"
        " half (`day_part`); the minutes say more.",
        "Minutes are `calculated_duration_in_minutes`, else `duration_in_minutes`.",
    ),
    question="How many days of each kind of absence were there in 2026?",
    example="""
SELECT absence, sum(days) AS days
FROM protime_data.absence_days
WHERE day BETWEEN DATE '2026-01-01' AND DATE '2026-12-31'
GROUP BY absence
""",
    query="""
SELECT
  a.person_id,
  a.day,
  a.absence_definition_id,
  absence_definitions.name AS absence,
  absence_definitions.absence_group_id,
  absence_groups.name AS absence_group,
  absence_groups.type AS absence_group_type,
  a.days,
  a.minutes
FROM (
  SELECT
    r.person_id,
    r.date AS day,
    r.resulting_absence_definition_id AS absence_definition_id,
    LEAST(SUM(CASE WHEN r.day_part IN ('First', 'Second') THEN 0.5 ELSE 1.0 END), 1.0) AS days,
    SUM(COALESCE(r.calculated_duration_in_minutes, r.duration_in_minutes)) AS minutes
  FROM absences AS r
  WHERE NOT r.is_deleted AND COALESCE(r.approval_level, 'Unknown') IN ('Approved', 'Unknown')
  GROUP BY r.person_id, r.date, r.resulting_absence_definition_id
) AS a
LEFT JOIN absence_definitions ON absence_definitions.id = a.absence_definition_id
LEFT JOIN absence_groups ON absence_groups.id = absence_definitions.absence_group_id
""",
)

_DAYS_BY_GROUP = """
  SELECT
    d.person_id,
    d.absence_group_id,
    d.absence_group,
    d.day,
    LEAST(SUM(d.days), 1.0) AS days
  FROM absence_days AS d
  WHERE COALESCE(d.absence_group_type, 'Unknown') <> 'WorkingElsewhere'
  GROUP BY d.person_id, d.absence_group_id, d.absence_group, d.day
"""

ABSENCE_SPELLS = Model(
    name="absence_spells",
    grain="One row per person, absence group and unbroken spell of absence.",
    needs=("absence_days", "absence_definitions"),
    uses=(),
    columns=(
        PERSON,
        *_GROUP,
        ModelColumn("first_day", "date", "First day of the spell."),
        ModelColumn("last_day", "date", "Last day of the spell so far."),
        ModelColumn("days", "double", "Days of absence in it; half days count 0.5."),
        ModelColumn(
            "calendar_days", "bigint", "Days of the calendar from its first day to its last."
        ),
    ),
    assumptions=(
        "Days in a row are one spell, and so are days between which only Saturdays and Sundays lie."
        " A public holiday, or another day on which the person does not work, ends a spell.",
        "Kinds of absence of one group are the same spell; those without a group are a group too.",
        "Working elsewhere (`absence_group_type`) is no absence here. Without absence_groups it"
        " cannot be told from absences.",
    ),
    question="Which spells of more than four weeks began in 2026?",
    example="""
SELECT person_id, absence_group, first_day, last_day, days
FROM protime_data.absence_spells
WHERE calendar_days > 28 AND first_day >= DATE '2026-01-01'
""",
    query=f"""
WITH days AS ({_DAYS_BY_GROUP}), with_previous AS (
  SELECT
    d.*,
    LAG(d.day) OVER (PARTITION BY d.person_id, d.absence_group_id ORDER BY d.day) AS previous_day
  FROM days AS d
), with_gap AS (
  SELECT
    w.*,
    DATE_DIFF(w.day, w.previous_day, DAY) AS gap,
    MOD(DATE_DIFF(w.previous_day, DATE '1900-01-01', DAY), 7) AS previous_weekday
  FROM with_previous AS w
), with_start AS (
  SELECT
    g.*,
    CASE
      WHEN g.gap = 1 THEN 0
      WHEN g.gap = 2 AND g.previous_weekday IN (4, 5) THEN 0
      WHEN g.gap = 3 AND g.previous_weekday = 4 THEN 0
      ELSE 1
    END AS starts
  FROM with_gap AS g
), with_spell AS (
  SELECT
    s.*,
    SUM(s.starts) OVER (
      PARTITION BY s.person_id, s.absence_group_id ORDER BY s.day
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS spell
  FROM with_start AS s
)
SELECT
  s.person_id,
  s.absence_group_id,
  s.absence_group,
  MIN(s.day) AS first_day,
  MAX(s.day) AS last_day,
  SUM(s.days) AS days,
  DATE_DIFF(MAX(s.day), MIN(s.day), DAY) + 1 AS calendar_days
FROM with_spell AS s
GROUP BY s.person_id, s.absence_group_id, s.absence_group, s.spell
""",
)

BRADFORD_FACTOR = Model(
    name="bradford_factor",
    grain="One row per person and absence group with an absence in the last 52 weeks.",
    needs=("absence_days", "absence_spells"),
    uses=(),
    columns=(
        PERSON,
        *_GROUP,
        ModelColumn("first_day", "date", "First day of the 52 weeks."),
        ModelColumn("last_day", "date", "Last of the 52 weeks' days: today (in Brussels)."),
        ModelColumn("spells", "bigint", "S: the spells with a day in the 52 weeks."),
        ModelColumn("days", "double", "D: their days of absence in the 52 weeks."),
        ModelColumn("bradford_factor", "double", "S times S times D."),
    ),
    assumptions=(
        "The factor is meant for absences that nobody planned: choose the groups of illness, not"
        " those of holidays.",
        "Of a spell that began before the 52 weeks, the days within them count.",
        "Absences that lie ahead do not count.",
    ),
    question="Whose Bradford factor for illness is above 200?",
    example="""
SELECT person_id, spells, days, bradford_factor
FROM protime_data.bradford_factor
WHERE absence_group = 'Illness' AND bradford_factor > 200
ORDER BY bradford_factor DESC
""",
    query=f"""
WITH days AS ({_DAYS_BY_GROUP}), in_window AS (
  SELECT
    s.person_id,
    s.absence_group_id,
    s.absence_group,
    COUNT(DISTINCT s.first_day) AS spells,
    SUM(d.days) AS days
  FROM absence_spells AS s
  JOIN days AS d
    ON d.person_id = s.person_id
    AND COALESCE(d.absence_group_id, 0) = COALESCE(s.absence_group_id, 0)
    AND d.day BETWEEN s.first_day AND s.last_day
  WHERE DATE_DIFF({TODAY}, d.day, DAY) BETWEEN 0 AND 52 * 7 - 1
  GROUP BY s.person_id, s.absence_group_id, s.absence_group
)
SELECT
  w.person_id,
  w.absence_group_id,
  w.absence_group,
  DATE_SUB({TODAY}, INTERVAL 52 * 7 - 1 DAY) AS first_day,
  {TODAY} AS last_day,
  w.spells,
  w.days,
  w.spells * w.spells * w.days AS bradford_factor
FROM in_window AS w
""",
)

"""The pictures: what each asks of the warehouse, what it shows, and the finding in its title."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

from protime_source.catalogue import COLLECTIONS
from protime_source.models.changes import SHORT_NOTICE_CHANGES
from protime_source.reporting.reading import Dataset, Row, Selection

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

NOTICES = (
    "after the start",
    "under 24 hours",
    "under 4 days",
    "under 7 working days",
    "7 working days or more",
)
"""How long before the work a change came, the latest first."""

OTHERS, UNKNOWN = "others", "none"
"""The groups that are no activity or department of their own."""

_FIGURES = ("hours", "changes", "deleted_rows")
_MOST_GROUPS = 7
_MOST_DAYS = 120
"""Of more days than these, hours are shown by week."""
_CLOCKINGS_WITH_BREAK = 3
"""From so many clockings a person and day on, breaks are clocked."""


@dataclass(frozen=True)
class Picture:
    """What one picture shows.

    Attributes:
        name: Its short name.
        title: The finding, in one line; what is missing when there is no row.
        subtitle: What is shown, in which unit, and how to read it.
        rows: What is drawn, a row for each mark.
        today: The day on which it was drawn.
        sql: The query behind it, which runs in any client of the warehouse; "" without one.
    """

    name: str
    title: str
    subtitle: str
    rows: list[Row] = field(default_factory=list)
    today: date = date.min
    sql: str = ""


def all_pictures(dataset: Dataset, selection: Selection, today: date) -> list[Picture]:
    """Returns all pictures; one whose tables are not loaded says which these are.

    Args:
        dataset: What is read.
        selection: The days and people.
        today: The present day.
    """
    return [replace(draw(dataset, selection, today), today=today) for draw in _PICTURES]


def hours_by_activity(dataset: Dataset, selection: Selection, today: date) -> Picture:
    """Returns the planned hours by week and activity."""
    about = "Planned hours by week and activity, without breaks."
    missing = _missing(dataset, "assignment_days", "hours by activity", "Planned hours by activity")
    if missing:
        return missing
    sql = dataset.query(
        "assignment_days",
        "SELECT day, activity_definition_id, activity, SUM(planned_minutes) AS minutes"
        f" FROM assignment_days WHERE {selection.days} AND planned_minutes > 0"
        " GROUP BY day, activity_definition_id, activity",
        selection,
    )
    found = [
        {**row, "group": row["activity"] or row["activity_definition_id"] or UNKNOWN}
        for row in dataset.rows(sql)
    ]
    rows = _by_week(found)
    title = "No hours are planned on these days" if not rows else _this_week(rows, today)
    return Picture("hours by activity", title, about, rows, sql=sql)


def hours_by_department(dataset: Dataset, selection: Selection, today: date) -> Picture:
    """Returns the planned hours by week and department."""
    name = "hours by department"
    about = (
        "Planned hours by week and department, breaks included; the hours of a night after midnight"
        " are those of the next day."
    )
    if missing := _missing(dataset, "coverage", name, "Planned hours by department"):
        return missing
    if lacking := [t for t in ("departments", "department_histories") if t not in dataset.tables]:
        return Picture(name, "Planned hours by department: no data", _load(lacking))
    sql = dataset.query(
        "coverage",
        "SELECT day, department_id, department, SUM(minutes_with_breaks) AS minutes"
        f" FROM coverage WHERE {selection.days} GROUP BY day, department_id, department",
        selection,
    )
    found = [
        {**row, "group": row["department"] or _numbered("department", row["department_id"])}
        for row in dataset.rows(sql)
    ]
    rows = _by_week(found)
    title = "No hours are planned on these days"
    if rows:
        hours = _totals(rows, "group")
        largest = max(hours, key=lambda group: hours[group])
        share = hours[largest] / max(sum(hours.values()), 1)
        title = f"{largest} has the most planned hours: {share:.0%} of all"
        if largest == UNKNOWN:
            title = f"No department is known for {share:.0%} of the planned hours"
    return Picture(name, title, about, rows, sql=sql)


def coverage(dataset: Dataset, selection: Selection, today: date) -> Picture:
    """Returns how many people are planned by weekday and half hour, on average."""
    if missing := _missing(dataset, "coverage", "coverage", "Coverage by weekday and half hour"):
        return missing
    sql = dataset.query(
        "coverage",
        "SELECT day, start_time_in_minutes, SUM(minutes_with_breaks) AS minutes"
        f" FROM coverage WHERE {selection.days} GROUP BY day, start_time_in_minutes",
        selection,
    )
    minutes: Counter[tuple[int, int]] = Counter()
    for row in dataset.rows(sql):
        minutes[row["day"].weekday(), row["start_time_in_minutes"]] += row["minutes"]
    length = (selection.last_day - selection.first_day).days + 1
    dates = Counter((selection.first_day + timedelta(days=n)).weekday() for n in range(length))
    rows: list[Row] = [
        {
            "weekday": WEEKDAYS[weekday],
            "time": _clock(start),
            "people": minutes[weekday, start] / 30 / dates[weekday],
            "minutes": minutes[weekday, start],
        }
        for weekday in sorted(dates)
        for start in range(0, 1440, 30)
        if minutes
    ]
    title = "Nobody is planned on these days"
    if rows:
        peak = max(rows, key=lambda row: row["people"])
        when = f"{peak['weekday']} {peak['time']}"
        title = f"{when} is the busiest half hour: {peak['people']:,.1f} people on average"
    about = (
        "People planned by weekday and half hour, on average of all weeks shown. Breaks are"
        " included; who is planned for half of a half hour counts half."
    )
    return Picture("coverage", title, about, rows, sql=sql)


def planned_and_clocked(dataset: Dataset, selection: Selection, today: date) -> Picture:
    """Returns planned and clocked hours by day, until yesterday."""
    name = "planned and clocked"
    if missing := _missing(dataset, "planned_vs_clocked", name, "Planned against clocked hours"):
        return missing
    sql = dataset.query(
        "planned_vs_clocked",
        "SELECT day, SUM(planned_minutes) AS planned,"
        " SUM(planned_minutes_with_breaks) AS planned_with_breaks,"
        " SUM(clocked_minutes) AS clocked, SUM(clockings) AS clockings,"
        " SUM(CASE WHEN clockings > 0 THEN 1 ELSE 0 END) AS person_days,"
        " SUM(CASE WHEN status = 'absent' THEN 1 ELSE 0 END) AS absent,"
        " SUM(CASE WHEN status = 'not clocked' THEN 1 ELSE 0 END) AS not_clocked"
        f" FROM planned_vs_clocked WHERE {selection.days} AND day < DATE '{today}' GROUP BY day",
        selection,
    )
    found = sorted(dataset.rows(sql), key=lambda row: row["day"])
    person_days = sum(row["person_days"] for row in found)
    per_day = sum(row["clockings"] for row in found) / max(person_days, 1)
    are_breaks_clocked = per_day >= _CLOCKINGS_WITH_BREAK
    column = "planned" if are_breaks_clocked else "planned_with_breaks"
    is_long = (selection.last_day - selection.first_day).days > _MOST_DAYS
    minutes: Counter[tuple[date, str]] = Counter()
    for row in found:
        day = _monday(row["day"]) if is_long else row["day"]
        for kind, source in (("planned", column), ("clocked", "clocked")):
            minutes[day, kind] += row[source] or 0
    rows: list[Row] = [
        {"week" if is_long else "day": day, "kind": kind, "hours": each / 60}
        for (day, kind), each in minutes.items()
    ]
    title = "Nothing was planned or clocked on these days"
    if rows:
        hours = _totals(rows, "kind")
        title = f"{hours['clocked']:,.0f} h clocked against {hours['planned']:,.0f} h planned"
        if hours["planned"]:
            title += f": {_change(hours['clocked'] / hours['planned'] - 1)}"
    absent, not_clocked = (sum(row[each] for row in found) for each in ("absent", "not_clocked"))
    about = (
        f"Hours by {'week' if is_long else 'day'}, until yesterday."
        f" Planned is {'without' if are_breaks_clocked else 'with'} breaks, because people clock"
        f" {per_day:.1f} times a day."
        f" Planned, but not clocked: {_count(absent, 'absence')} and"
        f" {_count(not_clocked, 'day')} without a reason in the data."
    )
    return Picture(name, title, about if rows else "", rows, sql=sql)


def short_notice(dataset: Dataset, selection: Selection, today: date) -> Picture:
    """Returns how many changes of the plan there were, by how long before the work they came."""
    name, model = "short notice", SHORT_NOTICE_CHANGES.name
    if dataset.missing(model):
        text = (
            "They need the history of assignments. Switch it on with"
            " SOURCES__PROTIME__HISTORY=true, then `protime run assignments`: changes count from"
            " then on."
        )
        return Picture(name, "Changes at short notice: no data", text)
    everybody = replace(selection, person_id=None, department_id=None)
    people = dataset.people(selection)
    theirs = f" AND ({people} OR {dataset.people(selection, 'old_person_id')})" if people else ""
    until = dataset.moment(selection.last_day + timedelta(days=1))
    sql = dataset.query(
        model,
        f"SELECT change, notice, COUNT(*) AS changes FROM {model} WHERE recorded_at >="
        f" {dataset.moment(selection.first_day)} AND recorded_at < {until}{theirs}"
        " GROUP BY change, notice",
        everybody,
    )
    rows = sorted(dataset.rows(sql), key=lambda row: (NOTICES.index(row["notice"]), row["change"]))
    changes = _totals(rows, "notice")
    total, late = sum(changes.values()), changes[NOTICES[0]]
    short = total - late - changes[NOTICES[-1]]
    title = "The plan was not changed on these days"
    if rows:
        title = f"{short:,} of {_count(total, 'change')} came less than 7 working days ahead"
        title += f", {late:,} after the start" if late else ""
    about = (
        "Assignments added, moved or cancelled, by the time from the change to the work. A change"
        " counts from the moment that this warehouse learnt of it."
    )
    return Picture(name, title, about, rows, sql=sql)


def deleted(dataset: Dataset, selection: Selection, today: date) -> Picture:
    """Returns how many rows were soft-deleted lately, by table and by how it was learnt."""
    tables = sorted(dataset.tables & COLLECTIONS.keys())
    since = max(selection.first_day, today - timedelta(days=28))
    sql = " UNION ALL ".join(
        f"SELECT '{table}' AS table_name, delete_reason AS reason, COUNT(*) AS deleted_rows"
        f" FROM {dataset.qualified(table)} WHERE is_deleted"
        f" AND deleted_at >= {dataset.moment(since)} GROUP BY delete_reason"
        for table in tables
    )
    if not sql:
        return Picture("deleted", "Deleted rows: no data", _load(["assignments"]))
    sql = dataset.formatted(sql)
    rows = sorted(dataset.rows(sql), key=lambda row: (row["table_name"], row["reason"]))
    counts = _totals(rows, "reason")
    total = sum(counts.values())
    title = f"No row was soft-deleted since {since.day} {since:%B %Y}"
    if rows:
        how = ", ".join(f"{counts[reason]:,} {reason}" for reason in sorted(counts))
        title = f"{_count(total, 'row')} deleted since {since.day} {since:%B}: {how}"
    about = (
        "Soft-deleted rows of all people, by table. Announced: Protime's changes said so. Vanished:"
        " a full load no longer found them."
    )
    return Picture("deleted", title, about, rows, sql=sql)


_PICTURES: tuple[Callable[[Dataset, Selection, date], Picture], ...] = (
    hours_by_activity,
    hours_by_department,
    coverage,
    planned_and_clocked,
    short_notice,
    deleted,
)


def _missing(dataset: Dataset, model: str, name: str, subject: str) -> Picture | None:
    """What is shown in place of a picture whose model cannot be there."""
    if not (missing := dataset.missing(model)):
        return None
    return Picture(name, f"{subject}: no data", _load([t for t in missing if t in COLLECTIONS]))


def _load(tables: Sequence[str]) -> str:
    return f"Load {' and '.join(tables)}: `protime run {' '.join(tables)}`."


def _by_week(found: Sequence[Row]) -> list[Row]:
    """Hours by Monday and group; of many groups, the smaller ones are one."""
    minutes: Counter[str] = Counter()
    for row in found:
        minutes[row["group"]] += row["minutes"]
    # Of as many minutes, by name: the engines return rows in any order, and a colour should stay.
    named = sorted(minutes.keys() - {UNKNOWN}, key=lambda group: (-minutes[group], group))
    most = _MOST_GROUPS if len(named) > _MOST_GROUPS else len(named)
    places = {group: place for place, group in enumerate([*named[:most], OTHERS, UNKNOWN])}
    weeks: Counter[tuple[date, str]] = Counter()
    for row in found:
        weeks[_monday(row["day"]), row["group"] if row["group"] in places else OTHERS] += row[
            "minutes"
        ]
    rows = [
        {"week": week, "group": group, "hours": minutes / 60, "place": places[group]}
        for (week, group), minutes in weeks.items()
    ]
    return sorted(rows, key=lambda row: (row["week"], row["place"]))


def _this_week(rows: Sequence[Row], today: date) -> str:
    """This week's hours against the average of the weeks before."""
    hours = _totals(rows, "week")
    monday = _monday(today)
    before = [value for week, value in hours.items() if week < monday]
    if monday not in hours or not before:
        return f"{sum(hours.values()):,.0f} hours are planned in {_count(len(hours), 'week')}"
    mean = sum(before) / len(before)
    return (
        f"{hours[monday]:,.0f} hours are planned this week,"
        f" {_change(hours[monday] / mean - 1)} than the average of the {len(before)} before"
    )


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _totals(rows: Sequence[Row], key: str) -> Counter[Any]:
    """The sums of the rows' figure by one of their other values."""
    totals: Counter[Any] = Counter()
    for row in rows:
        totals[row[key]] += next(row[each] for each in _FIGURES if each in row)
    return totals


def _change(share: float) -> str:
    return f"{abs(share):.0%} {'more' if share >= 0 else 'less'}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _numbered(noun: str, id_: int | None) -> str:
    return UNKNOWN if id_ is None else f"{noun} {id_}"


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"

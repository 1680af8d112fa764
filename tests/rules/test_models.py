"""The analysts' models show the same on every engine: what a plain computation says."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from protime_source import load
from protime_source.models import MODELS
from protime_source.warehouse.dialect import dialects
from tests.conftest import WorldFactory
from tests.engines import every_engine
from tests.plain_models import PlainModels
from tests.world import Row, World

COLLECTIONS = (
    "assignments",
    "people",
    "activity_definitions",
    "clockings",
    "absences",
    "absence_definitions",
    "absence_groups",
    "departments",
    "department_histories",
)
TODAY = datetime.now(UTC).date()
PLANNED = ("current_assignments", "assignment_days", "planned_days", "coverage")


def ago(days: int) -> str:
    return (TODAY - timedelta(days=days)).isoformat()


def monday(weeks_ago: int) -> date:
    return TODAY - timedelta(days=TODAY.weekday() + 7 * weeks_ago)


def times(start: int | None, end: int | None, pause: int | None = None) -> Row:
    found = {
        "startTimeInMinutes": start,
        "endTimeInMinutes": end,
        "breakDurationInMinutes": pause,
    }
    return {name: value for name, value in found.items() if value is not None}


def add_cases(world: World) -> None:
    """What each model could get wrong, of two people."""
    tenant = world.tenant
    one, other = ({"person": {"id": id_}} for id_ in [*tenant.of("people")][:2])
    day = {"from": ago(10), "until": ago(10)}
    for fields in (
        {**one, **day, **times(1320, 1800, 45)},
        {**one, **day, **times(1800, 2880)},
        {**other, **day, **times(-1440, -1080, 30)},
        {**one, **day, **times(-125, 35)},
        {**one, **day, **times(485, 490)},
        {**one, **day, **times(500, 520, 60)},
        {**one, **day, **times(600, 540)},
        {**one, **day, **times(600, 600)},
        {**one, **day, **times(600, None)},
        {**one, **day, **times(None, 600, 30)},
        {**other, **times(510, 1020, 30), "from": ago(30), "until": ago(24)},
        {**other, **times(510, 1020), "from": ago(9)},
        {**other, **times(510, 1020), "from": ago(9), "until": ago(12)},
        {**other, **times(540, 600), "from": ago(300), "until": "9999-12-31"},
        {**other, **day, **times(1, 1400), "isRejected": True},
    ):
        tenant.add("assignments", fields)
    for minutes in ((500,), (480, 720, 780, 1000), (1330, 1790), (480, 480, 960)):
        for person in (one, other):
            date_ = {"date": ago(5 + len(minutes) * 5)}
            for minute in minutes:
                clocking = {"timeOfDayInMinutes": minute, "kind": "InOut", "status": "Active"}
                tenant.add("clockings", {**person, **date_, **clocking})
                for ignored in ({"kind": "Reason"}, {"status": "Deleted"}):
                    tenant.add("clockings", {**person, **date_, **clocking, **ignored})
    history = {"from": ago(20), "until": ago(10), "department": {"id": 3}}
    tenant.add("department-histories", {**other, **history})
    add_absences(world, one, other)


def add_absences(world: World, one: Row, other: Row) -> None:
    """Spells over weekends, halves, what is not approved, and what began before the 52 weeks."""
    first = monday(6)
    illness, leave, unpaid = ({"resultingAbsenceDefinition": {"id": id_}} for id_ in (3, 1, 2))
    approved = {"approvalLevel": "Approved", "calculatedDurationInMinutes": 456}
    cases = [(one, illness, first + timedelta(days=days), {}) for days in (3, 4, 7, 9, 11, 13)]
    cases += [(one, illness, first + timedelta(days=days), {}) for days in (19, 21, 26, 29)]
    cases += [(other, illness, TODAY - timedelta(days=days), {}) for days in range(360, 368)]
    cases += [(other, kind, first, {"dayPart": "First"}) for kind in (leave, leave, unpaid)]
    cases += [(other, leave, first + timedelta(days=1), {"dayPart": "Second"})]
    cases += [(other, leave, TODAY + timedelta(days=days), {}) for days in (0, 1)]
    cases += [
        (other, illness, first, {"approvalLevel": level})
        for level in ("AwaitingApproval", "NotApproved", "Unknown")
    ]
    for person, kind, day, more in cases:
        fields = {**person, **kind, **approved, "date": day.isoformat(), **more}
        world.tenant.add("absences", fields)


def record_versions(world: World) -> None:
    """Adds, moves, cancels and restores, from after the work to a month before it.

    They are recorded in the evening (UTC), half an hour after midnight in Brussels.
    """
    dialect = dialects()[world.engine.name]
    recorded = datetime.combine(TODAY + timedelta(days=1), time(23, 30), UTC)
    rows = []
    for number, days in enumerate((-1, 0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 30)):
        day = TODAY + timedelta(days=1 + days)
        plan = {"person_id": 1204, "from_date": day, "start_time_in_minutes": 510}
        for place, change in enumerate(
            (
                {},
                {"start_time_in_minutes": 30},
                {"comments": "no move"},
                {"is_rejected": True},
                {"from_date": day - timedelta(days=1)},
                {"person_id": 1207, "end_time_in_minutes": None, "start_time_in_minutes": None},
                {"is_deleted": True},
            )
        ):
            plan = {**plan, "is_rejected": False, "is_deleted": False, **change}
            moment = dialect.timestamp(recorded + timedelta(minutes=place))
            rows.append({**plan, "id": 900_000 + number, "recorded_at": moment})
    names = ("id", "person_id", "from_date", "start_time_in_minutes", "is_rejected", "is_deleted")
    values = ", ".join(
        f"({', '.join(literal(row[name]) for name in names)}, {row['recorded_at']})" for row in rows
    )
    world.query(
        f"INSERT INTO {world.dataset}.assignments__history ({', '.join(names)}, recorded_at)"
        f" VALUES {values}"
    )


def literal(value: object) -> str:
    if isinstance(value, date):
        return f"DATE '{value}'"
    return "NULL" if value is None else str(value)


def check(world: World, *names: str) -> None:
    """The models show what the plain computation says, with the documented columns."""
    plain = PlainModels(world, TODAY)
    for name in names or MODELS:
        columns, found = world.engine.ask(f"SELECT * FROM {world.dataset}.{name}")
        assert columns == [column.name for column in MODELS[name].columns]
        wanted = plain.rows(name)
        assert wanted, name
        shown = Counter(found)
        expected = Counter(tuple(row[column] for column in columns) for row in wanted)
        assert shown == expected, (name, [*(shown - expected)][:3], [*(expected - shown)][:3])


@pytest.fixture
def full_world(make_world: WorldFactory, monkeypatch: pytest.MonkeyPatch) -> World:
    """A tenant with all that the models read, and the settings to load it."""
    world = make_world(rows=120, page_size=500)
    structures = ",".join(world.tenant.structures)
    monkeypatch.setenv("SOURCES__PROTIME__ACTIVITY_STRUCTURES", structures)
    return world


@every_engine
def test_each_model_shows_what_a_plain_computation_says(full_world: World) -> None:
    world = full_world
    add_cases(world)
    settings: dict[str, Any] = {"collections": COLLECTIONS, "history": True, "models": True}
    load(world.pipeline(), **settings)
    record_versions(world)
    check(world)

"""The analysts' models show the same on every engine: what a plain computation says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import dlt
import pytest
from dlt.pipeline.helpers import pipeline_drop

from protime_source import WarehouseError, create_models, drop_models, load, protime, reset
from protime_source.demo import Behaviour
from protime_source.models import MODELS
from protime_source.models.model import Model
from protime_source.warehouse.dialect import dialects
from tests.command import run_here
from tests.conftest import WorldFactory
from tests.engines import every_engine, sql_engines
from tests.plain_models import BRUSSELS, PlainModels
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
TODAY = datetime.now(BRUSSELS).date()
EARLIER: Row = {}
"""A day earlier."""

CHANGES: tuple[Row, ...] = (
    {"person_id": 1204},
    {"start_time_in_minutes": 30},
    {"is_rejected": False},
    {"until_date": date(2999, 1, 1)},
    {"is_rejected": True},
    EARLIER,
    {"person_id": 1207, "start_time_in_minutes": None},
    {"is_deleted": True},
)
"""What happens to each planned assignment, a minute after the one before."""

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
    cases: list[tuple[Row, Row, date, Row]] = [
        (one, illness, first + timedelta(days=days), {}) for days in (3, 4, 7, 9, 11, 13)
    ]
    cases += [(one, illness, first + timedelta(days=days), {}) for days in (19, 21, 26, 29)]
    cases += [(other, illness, TODAY - timedelta(days=days), {}) for days in range(360, 368)]
    cases += [(other, kind, first, {"dayPart": "First"}) for kind in (leave, leave, leave, unpaid)]
    cases += [(other, leave, first + timedelta(days=1), {"dayPart": "Second"})]
    cases += [(other, leave, TODAY + timedelta(days=days), {}) for days in (0, 1)]
    cases += [
        (other, illness, first, {"approvalLevel": level})
        for level in ("AwaitingApproval", "NotApproved", "Unknown")
    ]
    group = world.tenant.add("absence-groups", {**_named("Elsewhere"), "type": "WorkingElsewhere"})
    definition = {**_named("Training"), "absenceGroup": {"id": group}}
    training = {"id": world.tenant.add("absence-definitions", definition)}
    cases += [(one, {"resultingAbsenceDefinition": training}, first, {})]
    for person, kind, day, more in cases:
        fields = {**person, **kind, **approved, "date": day.isoformat(), **more}
        world.tenant.add("absences", fields)


def _named(name: str) -> Row:
    return {"name": {"default": name}}


def record_versions(world: World) -> None:
    """Adds, moves, cancels and restores, from after the work to a month before it.

    They are recorded in the evening (UTC), half an hour after midnight in Brussels.
    """
    dialect = dialects()[world.engine.name]
    recorded = datetime.combine(TODAY + timedelta(days=1), time(23, 30), UTC)
    rows = []
    for number, days in enumerate((-1, 0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 30)):
        day = TODAY + timedelta(days=1 + days)
        plan: Row = {"person_id": 1204, "from_date": day, "start_time_in_minutes": 510}
        for place, change in enumerate(CHANGES):
            earlier = {"from_date": day - timedelta(days=1)} if change is EARLIER else change
            plan = {**plan, "is_rejected": False, "is_deleted": False, **earlier}
            moment = dialect.timestamp(recorded + timedelta(minutes=place))
            rows.append({**plan, "id": 900_000 + number, "recorded_at": moment})
    names = ("id", "person_id", "from_date", "until_date", "start_time_in_minutes", "is_rejected")
    values = ", ".join(
        f"({', '.join(literal(row.get(name)) for name in names)},"
        f" {row['is_deleted']}, {row['recorded_at']})"
        for row in rows
    )
    world.query(
        f"INSERT INTO {world.dataset}.assignments__history ({', '.join(names)}, is_deleted,"
        f" recorded_at) VALUES {values}"
    )


def literal(value: object) -> str:
    if isinstance(value, date):
        return f"DATE '{value}'"
    return "NULL" if value is None else str(value)


def check(world: World, *names: str) -> None:
    """The models show what the plain computation says, with the documented columns."""
    plain = PlainModels(world)
    for name in names or MODELS:
        columns, found = world.engine.ask(f"SELECT * FROM {world.dataset}.{name}")
        assert columns == [column.name for column in MODELS[name].columns]
        wanted = plain.rows(name)
        assert wanted, name
        shown = Counter(found)
        expected = Counter(tuple(row[column] for column in columns) for row in wanted)
        assert shown == expected, (name, [*(shown - expected)][:3], [*(expected - shown)][:3])


def days_called_today(world: World) -> set[tuple[Any, ...]]:
    """What readers take for today where it is always another day than elsewhere."""
    days = f"SELECT DISTINCT last_day FROM {world.dataset}.bradford_factor"
    zones = ("Etc/GMT+12", "Etc/GMT-14")
    return {day for zone in zones for day in world.query(f"SET TimeZone = '{zone}'; {days}")}


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
    load(world.pipeline(), collections=COLLECTIONS, history=True, models=True)
    record_versions(world)
    check(world)
    if world.engine.name != "bigquery":  # which has no zone of a session
        assert len(days_called_today(world)) == 1
    for model in MODELS.values():
        world.query(model.example.replace("protime_data", world.dataset))
    assert {each.outcome for each in create_models(world.pipeline()).outcomes} == {"unchanged"}
    if world.engine.name == "duckdb":  # all are views, so that one engine tells of the next run
        world.tenant.churn(40)
        changed = ("clockings", "absences", "department_histories")
        for name in (table.replace("_", "-") for table in changed):
            for id_ in [*world.tenant.of(name)][::3]:
                world.tenant.write(name, id_, None)
        load(world.pipeline(), collections=("assignments", *changed), history=True, models=True)
        check(world)


@sql_engines
def test_models_are_never_in_the_way(world: World) -> None:
    world.run(models=True)
    check(world, *PLANNED)
    world.tenant.behaviour = Behaviour(extra_fields={"cost": 1})
    world.tenant.churn(30)
    world.run(models=True)
    check(world, *PLANNED)
    world.pipeline().run(protime(models=True), refresh="drop_resources")
    check(world, *PLANNED)
    pipeline_drop(world.pipeline(), resources=["assignments"])()
    world.run(models=True)
    check(world, *PLANNED)
    assert set(reset(world.pipeline(), "assignments").models) == {*PLANNED}
    assert not any(map(world.engine.holds, MODELS))
    world.run(models=True)
    check(world, *PLANNED)
    dataset = world.pipeline().dataset()
    assert len(dataset["planned_days"].fetchall()) == len(PlainModels(world).rows(PLANNED[2]))


def existing(world: World) -> set[str]:
    """The models that are there, each of which can be read, and is known to dlt."""
    found = {name for name in MODELS if world.engine.holds(name)}
    for name in found:
        world.query(f"SELECT * FROM {world.dataset}.{name}")
    assert {*MODELS} & {*world.pipeline().default_schema.tables} == found
    return found


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_after_a_partial_reset_the_models_are_there_whose_tables_are(world: World) -> None:
    """The load with which dlt drops a table creates models, some of what is dropped next."""
    tables = ("assignments", "people", "clockings")
    world.load(collections=tables, history=True, models=True)
    assert existing(world) == {*PLANNED, "planned_vs_clocked", "short_notice_changes"}
    named = f"SELECT COUNT(last_name) FROM {world.dataset}.current_assignments"
    assert world.query(named) != [(0,)]
    assert reset(world.pipeline(), "people").models == ()
    assert existing(world) == {*PLANNED, "planned_vs_clocked", "short_notice_changes"}
    assert world.query(named) == [(0,)]
    assert reset(world.pipeline(), "clockings").models == ("planned_vs_clocked",)
    assert existing(world) == {*PLANNED, "short_notice_changes"}
    dropped = reset(world.pipeline(), "assignments", history=True)
    assert {*dropped.models} == {*PLANNED, "short_notice_changes"}
    assert existing(world) == set()
    assert "return with" in str(dropped)


def test_dlt_knows_the_models_that_the_command_created_and_none_that_it_dropped(
    world: World,
) -> None:
    world.run(models=True)
    drop_models(world.pipeline())
    assert existing(world) == set()
    world.tenant.churn(3)
    world.run()
    assert existing(world) == set()
    create_models(world.pipeline())
    world.run(collections=("assignments", "people"))
    assert reset(world.pipeline(), "people").models == ()
    assert existing(world) == {*PLANNED}
    elsewhere = dlt.dataset(world.engine.destination(), world.dataset)
    assert elsewhere["planned_days"].fetchall()


def test_the_command_says_what_became_of_each_model(world: World) -> None:
    empty = run_here(world, command="models")
    assert (empty.returncode, len(empty.stderr.splitlines())) == (4, 1)
    assert "Run `protime run` first." in empty.stderr
    load(world.pipeline(), collections=("assignments", "absences"))
    assert not any(map(world.engine.holds, MODELS))
    created = run_here(world, command="models")
    assert max(map(len, created.stdout.splitlines())) <= 100
    assert created.returncode == 0
    assert "planned_days          created" in created.stdout
    assert "planned_vs_clocked    not there: it needs clockings" in created.stdout
    assert "short_notice_changes  not there: it needs assignments__history" in created.stdout
    world.query(f"DROP TABLE {world.dataset}.absences")
    again = run_here(world, command="models")
    assert "absence_days          dropped: it needs absences" in again.stdout
    assert "coverage              as it should be" in again.stdout
    dropped = run_here(world, "--drop", command="models")
    assert dropped.stdout.count(" dropped") == len(PLANNED)
    assert not any(map(world.engine.holds, MODELS))
    assert "There are no models" in run_here(world, "--drop", command="models").stdout


@sql_engines
def test_a_model_is_replaced_when_its_definition_changes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = MODELS["planned_days"]
    world.run()
    for older in (replace(today, grain="Something else."), fewer_columns(today)):
        monkeypatch.setitem(MODELS, "planned_days", older)
        create_models(world.pipeline())
        monkeypatch.setitem(MODELS, "planned_days", today)
        assert outcomes(world)["planned_days"] == "replaced"
        check(world, "planned_days")
        assert outcomes(world)["planned_days"] == "unchanged"


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_rights_and_what_reads_a_model_stay_when_it_is_replaced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run(models=True)
    model = f"{world.dataset}.planned_days"
    world.query(f"GRANT SELECT ON {model} TO PUBLIC; CREATE VIEW theirs AS SELECT * FROM {model}")
    today = MODELS["planned_days"]
    monkeypatch.setitem(MODELS, "planned_days", replace(today, query=f"{today.query} LIMIT 0"))
    assert outcomes(world)["planned_days"] == "replaced"
    assert world.query("SELECT COUNT(*) FROM theirs") == [(0,)]
    assert world.query(f"SELECT has_table_privilege('public', '{model}', 'SELECT')") == [(True,)]
    monkeypatch.setitem(MODELS, "planned_days", fewer_columns(today))
    failed = next(
        each for each in create_models(world.pipeline()).outcomes if each.text[:5] == "Postg"
    )
    assert (failed.name, failed.outcome) == ("planned_days", "failed")
    assert failed.text.endswith("It is view theirs.")


@sql_engines
def test_what_somebody_else_called_like_a_model_is_left_alone(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = {"assignment_days": "TABLE", "coverage": "VIEW"}
    world.run()
    for name, kind in theirs.items():
        world.query(f"CREATE {kind} {world.dataset}.{name} AS SELECT 5 AS five")
    world.tenant.churn(3)
    world.run(models=True)
    world.check()
    warnings = [text for text in caplog.messages if "model" in text]
    assert len(warnings) == 3
    for name in theirs:
        problem = f"{name} could not be created: The dataset has a table or view"
        assert [text for text in warnings if problem in text], name
    assert run_here(world, command="models").returncode == WarehouseError.exit_code
    dropped = drop_models(world.pipeline()).outcomes
    assert [each.name for each in dropped] == ["current_assignments"]
    for name in theirs:
        assert world.query(f"SELECT * FROM {world.dataset}.{name}") == [(5,)]


def fewer_columns(model: Model) -> Model:
    """The model as an older version could have had it."""
    query = "SELECT person_id, day FROM assignment_days"
    return replace(model, columns=model.columns[:2], query=query)


def outcomes(world: World) -> dict[str, str]:
    """What becomes of each model."""
    return {each.name: each.outcome for each in create_models(world.pipeline()).outcomes}

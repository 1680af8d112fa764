"""The rules hold for every collection, on each engine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import RefusedCollectionsError, verify
from protime_source.api.pages import Page
from protime_source.catalogue import COLLECTIONS
from protime_source.decode.soft_delete import live
from protime_source.decode.tables import BatchBuilder
from protime_source.decode.tolerant import RecordDecoder
from protime_source.demo import Behaviour, DemoTenant, Fault
from protime_source.pipeline.summary import Summary, TableSummary
from tests.conftest import WorldFactory
from tests.engines import sql_engines
from tests.rules.conftest import MemoryFactory
from tests.world import Moment, World

EXAMPLES = (
    "assignments",
    "activity_durations",
    "activity_definitions",
    "absence_definitions",
    "clockings",
    "departments",
)
"""Few, and of every kind: a table takes the emulator of BigQuery a second in each run."""


@pytest.fixture
def whole(make_world: WorldFactory, monkeypatch: pytest.MonkeyPatch) -> World:
    """A tenant all of whose collections are loaded."""
    world = make_world(rows=120, page_size=40)
    monkeypatch.setenv("SOURCES__PROTIME__COLLECTIONS", "all")
    monkeypatch.setenv("SOURCES__PROTIME__ACTIVITY_STRUCTURES", ", ".join(world.tenant.structures))
    return world


def run(world: World, *tables: str, **settings: Any) -> Summary:
    return world.load(collections=tables or ("all",), **settings)


def written(table: TableSummary) -> int:
    """Rows that a run inserted or updated."""
    return table.counts["inserted"] + table.counts["updated"]


def change_all(world: World, changes: int = 4, seed: int = 1) -> None:
    for name in world.tenant.collections:
        world.tenant.change_other(name, changes, seed=seed)


def kinds(table: str) -> Iterator[object]:
    """What may make a difference to a warehouse."""
    each = COLLECTIONS[table]
    yield from (column.type for column in each.columns)
    yield from each.views
    yield "delta", each.has_delta, each.id_type
    yield "version", each.has_version
    yield "status", bool(each.deleted_status)
    yield "window", bool(each.date_column)
    yield "branches", bool(each.path_template)


def test_the_examples_are_of_every_kind() -> None:
    every = {kind for table in COLLECTIONS for kind in kinds(table)}
    assert {kind for table in EXAMPLES for kind in kinds(table)} == every


def test_all_collections_say_what_protime_says(whole: World) -> None:
    assert set(run(whole, *COLLECTIONS).tables) == COLLECTIONS.keys()
    whole.check_tables(*COLLECTIONS)
    asked = whole.tenant.api_requests
    filtered = {r.path.rpartition("/")[2] for r in asked if "filter" in r.query}
    assert filtered == {each.name for each in COLLECTIONS.values() if each.date_column}


@pytest.mark.parametrize("table", COLLECTIONS)
def test_a_page_and_an_event_give_the_same_row(table: str) -> None:
    """So the changes of a collection are decoded as its full load is."""
    collection, tenant = COLLECTIONS[table], DemoTenant(rows=40)
    decoder, builder = RecordDecoder(collection, str), BatchBuilder(collection, {})
    [records, *_] = [
        [*tenant.of(name).values()]
        for name in tenant.collections
        if name.rpartition("/")[2] == collection.name
    ]
    body = msgspec.json.encode({"value": records})
    columns, now = decoder.fast.decode([body]), datetime.now(UTC)
    if columns is None:  # a record that is not as documented
        shown = [live(row, now) for row in decoder.rows(Page.read(body).records)]
        page = builder.from_rows(shown)
    else:
        page = builder.from_columns(columns, now)
    assert page.num_rows == len(records) > 0
    events = [{"changeType": "InsertOrUpdate", "data": record} for record in records]
    rows = [row for _, row in decoder.events(msgspec.Raw(msgspec.json.encode(events)))]
    assert builder.from_rows([live(row, now) for row in rows]).equals(page)


def load_and_change(world: World) -> None:
    run(world, *EXAMPLES)
    change_all(world)
    run(world, *EXAMPLES)
    world.check_tables(*EXAMPLES)
    view = f"{world.dataset}.absence_definitions__allowed_durations"
    allowed = world.query(f"SELECT DISTINCT allowed_duration FROM {view} ORDER BY 1")
    assert allowed == [("FullDay",), ("HalfDay",)]
    view = f"{world.dataset}.activity_durations__counter_definitions"
    assert world.query(f"SELECT DISTINCT counter_definition_id FROM {view}") == [(1,)]
    [(levels, named)] = world.query(f"""
        SELECT COUNT(*), COUNT(d.name) FROM {world.dataset}.assignments__activity_levels l
        LEFT JOIN {world.dataset}.activity_definitions d ON d.id = l.activity_definition_id
    """)
    assert levels == named > 0, "levels can be joined to names"


@pytest.mark.parametrize("engine", ["postgres", "bigquery"], indirect=True)
def test_collections_of_every_kind_say_what_protime_says(whole: World) -> None:
    load_and_change(whole)


def test_collections_of_every_kind_say_what_protime_says_also_after_an_expiry(
    whole: World,
) -> None:
    load_and_change(whole)
    check_run_without_changes(whole)
    change_all(whole, seed=2)
    whole.tenant.clock.advance(hours=73)
    summary = run(whole, *EXAMPLES, max_vanished_share=1.0)
    whole.check_tables(*EXAMPLES)
    for table in ("clockings", "absence_definitions"):
        query = f"SELECT COUNT(*) FROM {whole.dataset}.{table} WHERE delete_reason = 'vanished'"
        vanished = summary.tables[table].counts["vanished"]
        assert whole.query(query) == [(vanished,)], table
    assert verify(whole.pipeline(), *EXAMPLES, deep=True).exit_code == 0


def check_run_without_changes(world: World) -> None:
    """It sends one request for each collection, and writes nothing."""
    before = {table: world.rows(table) for table in EXAMPLES}
    world.tenant.clear_requests()
    summary = run(world, *EXAMPLES)
    assert {table: world.rows(table) for table in EXAMPLES} == before
    levels = len(world.tenant.structures)
    assert world.requests == len(EXAMPLES) - 1 + levels
    assert sum(written(table) for table in summary.tables.values()) == 0
    assert sum(table.counts["ignored"] for table in summary.tables.values()) == 0


def test_a_field_of_a_catalog_that_changed_its_type_is_written_once(whole: World) -> None:
    id_, record = next(iter(whole.tenant.of("departments").items()))
    for colour in ("red", 5):
        whole.tenant.write("departments", id_, {**record, "colour": colour})
        assert written(run(whole, "departments").tables["departments"])
    assert whole.rows("departments")[id_]["colour__v_bigint"] == 5
    assert written(run(whole, "departments").tables["departments"]) == 0


def test_what_vanishes_from_a_catalog_is_marked_and_what_comes_back_is_live(whole: World) -> None:
    tables = {"departments": "departments", "activity_definitions": ""}
    tables["activity_definitions"] = next(
        name for name in whole.tenant.collections if name.endswith("activity-definitions")
    )
    run(whole, *tables)
    gone = {table: next(iter(whole.tenant.of(name).items())) for table, name in tables.items()}
    for table, name in tables.items():
        whole.tenant.write(name, gone[table][0], None)
    run(whole, *tables)
    for table, name in tables.items():
        id_, record = gone[table]
        row = whole.rows(table)[id_]
        assert (row["is_deleted"], row["delete_reason"]) == (True, "vanished"), table
        assert row["deleted_at"] is not None, table
        whole.tenant.of(name)[id_] = {**record, "changeVersion": "F" * 20}
    summary = run(whole, *tables)
    whole.check_tables(*tables)
    for table in tables:
        row = whole.rows(table)[gone[table][0]]
        assert (row["is_deleted"], row["deleted_at"], row["delete_reason"]) == (False, None, None)
        assert written(summary.tables[table]) == 1, table


def test_an_answer_with_neither_records_nor_a_link_ends_no_full_load(whole: World) -> None:
    """As a gateway gives it: all departments would seem to be gone."""
    run(whole, "departments")
    before = whole.rows("departments")
    said = '{"message": "maintenance"}'
    fault = Fault(
        "status", status=200, body=said, content_type="application/json", where="/departments"
    )
    whole.tenant.faults.append(fault)
    with pytest.raises(PipelineStepFailed, match="neither records nor a link"):
        run(whole, "departments", max_vanished_share=1.0)
    assert whole.rows("departments") == before


@pytest.mark.parametrize("table", ["clockings", "activity_durations"])
def test_a_record_with_the_status_of_a_deletion_is_soft_deleted(
    make_memory: MemoryFactory, table: str
) -> None:
    """One that had it before it was seen never arrives."""
    memory = make_memory(table, rows=120, page_size=40)
    name = COLLECTIONS[table].name
    first, second, meanwhile, never = list(memory.tenant.of(name))[:4]

    def set_status(id_: int, status: str) -> None:
        memory.tenant.write(name, id_, {**memory.tenant.of(name)[id_], "status": status})

    set_status(never, "Deleted")
    memory.run()
    assert never not in memory.rows()
    set_status(first, "Deleted")
    set_status(second, "Deleted")
    memory.run()
    row = memory.rows()[first]
    found = (row["is_deleted"], row["delete_reason"], row["status"])
    assert found == (True, "announced", "Deleted")
    learnt = row["deleted_at"]
    set_status(second, "Active")
    memory.run()
    assert not memory.rows()[second]["is_deleted"]
    memory.check()
    set_status(meanwhile, "Deleted")
    memory.tenant.clock.advance(hours=73)
    counts = memory.run()
    assert (counts.soft_deleted, counts.vanished) == (1, 0)
    assert memory.rows()[first]["deleted_at"] == learnt
    assert memory.rows()[meanwhile]["delete_reason"] == "announced"
    memory.check()


def test_a_listing_that_lags_behind_a_return_neither_marks_nor_loses_it(
    make_memory: MemoryFactory,
) -> None:
    memory = make_memory("clockings", rows=120, page_size=40)
    memory.run()
    records = memory.tenant.of("clockings")
    id_, record = next(iter(records.items()))
    memory.tenant.write("clockings", id_, {**record, "status": "Active", "isGenerated": True})
    memory.run()
    stored = memory.tenant.of("clockings")[id_]
    stale = {**record, "status": "Deleted"}
    assert stale["changeVersion"] < stored["changeVersion"]
    memory.tenant.of("clockings")[id_] = stale
    memory.run(full_resync=True, max_pages=2)
    assert memory.bookmark.full_load_in_progress
    memory.run()
    assert not memory.bookmark.full_load_in_progress
    assert not memory.rows()[id_]["is_deleted"]


def test_activity_durations_may_lack_a_version(make_memory: MemoryFactory) -> None:
    """From the start on, and from one change to the next."""
    memory = make_memory("activity_durations", rows=120, page_size=40)
    lacking = Behaviour(without_version=("activity-durations",))
    for round_, behaviour in enumerate((lacking, lacking, Behaviour(), lacking)):
        memory.tenant.behaviour = behaviour
        memory.tenant.change_other("activity-durations", 5, seed=round_)
        memory.run()
        shown = {
            id_: row["duration_in_minutes"]
            for id_, row in memory.rows().items()
            if not row["is_deleted"]
        }
        records = memory.tenant.of("activity-durations")
        assert shown == {id_: each["durationInMinutes"] for id_, each in records.items()}, round_


def test_the_definitions_of_other_levels_are_left_alone(
    whole: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(whole, "activity_definitions")
    everything = whole.rows("activity_definitions")
    monkeypatch.setenv("SOURCES__PROTIME__ACTIVITY_STRUCTURES", whole.tenant.structures[0])
    run(whole, "activity_definitions")
    assert whole.rows("activity_definitions") == everything
    assert {row["level"] for row in everything.values()} == {1, 2, 3}


def test_unknown_fields_and_enum_values_arrive(whole: World) -> None:
    tables = ("people", "departments", "clockings")
    run(whole, *tables)
    news = {"shoeSize": 44, "sex": "Unheard", "status": "Unheard"}
    changed = {}
    for table in tables:
        name = COLLECTIONS[table].name
        changed[table], record = next(iter(whole.tenant.of(name).items()))
        whole.tenant.write(name, changed[table], {**record, **news})
    run(whole, *tables)
    for table, id_ in changed.items():
        row = whole.rows(table)[id_]
        assert row["shoe_size"] == 44, table
        assert "sex" not in row or table != "people"
        assert row.get("status", "Unheard") == "Unheard", table


def test_where_no_date_bounds_the_window_soft_deleted_rows_stay_as_they_are(whole: World) -> None:
    run(whole, "people")
    first, second = list(whole.tenant.of("people"))[:2]
    whole.tenant.write("people", first, None)
    run(whole, "people")
    before = whole.rows("people")[first]
    assert before["delete_reason"] == "announced"
    whole.tenant.write("people", second, None)
    whole.tenant.clock.advance(hours=73)
    assert run(whole, "people").tables["people"].counts["soft_deleted"] == 1
    assert whole.rows("people")[first] == before
    whole.check_tables("people")


@pytest.mark.usefixtures("every_page_is_a_table")
def test_of_records_without_version_what_a_full_load_shows_last_counts(
    make_memory: MemoryFactory,
) -> None:
    """A record that two pages of the same full load show, and that is changed between them."""
    behaviour = Behaviour(without_version=("activity-durations",), page_overlap=5)
    name, table = "activity-durations", "activity_durations"
    memory = make_memory(table, page_size=10, behaviour=behaviour)
    last, record = [*memory.tenant.of(name).items()][9]

    def change() -> None:
        memory.tenant.write(name, last, {**record, "durationInMinutes": 77})

    memory.tenant.faults.append(Moment(after=1, where=COLLECTIONS[table].path, action=change))
    memory.run()
    assert memory.rows()[last]["duration_in_minutes"] == 77


@sql_engines
def test_a_collection_without_records_is_a_table_without_rows(whole: World) -> None:
    tables = ("activity_durations", "departments")
    for name in (COLLECTIONS[table].name for table in tables):
        for id_ in list(whole.tenant.of(name)):
            whole.tenant.write(name, id_, None)
    for _ in range(2):
        run(whole, *tables)
        assert [whole.rows(table) for table in tables] == [{}, {}]


@pytest.mark.usefixtures("every_page_is_a_package")
def test_a_collection_that_is_refused_within_its_full_load_is_left_as_it_is(
    make_world: WorldFactory,
) -> None:
    world = make_world(rows=60, page_size=30)
    where = COLLECTIONS["clockings"].path
    world.tenant.faults.append(Fault("status", status=403, times=99, after=1, where=where))
    with pytest.raises(RefusedCollectionsError) as caught:
        run(world, "clockings", "assignments")
    assert caught.value.tables == ("clockings",)
    assert len(world.rows("clockings")) == 30
    world.check_tables("assignments")
    world.tenant.faults.clear()
    run(world, "clockings")
    world.check_tables("clockings")

"""The rules hold for every collection, on each engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import RefusedCollectionsError, protime, verify
from protime_source.catalogue import COLLECTIONS
from protime_source.demo import Behaviour, Fault
from protime_source.errors import VanishedRowsError
from protime_source.pipeline.load import load
from protime_source.pipeline.states import read_bookmark
from protime_source.pipeline.summary import Summary, TableSummary
from tests.conftest import WorldFactory
from tests.engines import sql_engines
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

CATALOGS = [table for table, each in COLLECTIONS.items() if not each.has_delta]


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


def load_and_change(world: World, *tables: str) -> None:
    assert set(run(world, *tables).tables) == set(tables)
    world.check_tables(*tables)
    change_all(world)
    run(world, *tables)
    world.check_tables(*tables)


@pytest.mark.parametrize(
    ("engine", "tables"),
    [("postgres", tuple(COLLECTIONS)), ("bigquery", EXAMPLES)],
    ids=["postgres", "bigquery"],
    indirect=["engine"],
)
def test_all_collections_say_what_protime_says(whole: World, tables: tuple[str, ...]) -> None:
    load_and_change(whole, *tables)


def test_all_collections_say_what_protime_says_also_after_an_expiry(whole: World) -> None:
    load_and_change(whole, *COLLECTIONS)
    check_run_without_changes(whole)
    change_all(whole, seed=2)
    whole.tenant.clock.advance(hours=73)
    summary = run(whole, max_vanished_share=1.0)
    whole.check_tables(*COLLECTIONS)
    gone = whole.query(
        f"SELECT COUNT(*) FROM {whole.dataset}.contracts WHERE delete_reason = 'vanished'"
    )[0][0]
    assert gone == summary.tables["contracts"].counts["vanished"]
    assert verify(whole.pipeline(), deep=True).exit_code == 0


def check_run_without_changes(world: World) -> None:
    """It sends one request for each collection, and writes nothing."""
    before = {table: world.rows(table) for table in COLLECTIONS}
    world.tenant.clear_requests()
    summary = run(world)
    assert {table: world.rows(table) for table in COLLECTIONS} == before
    levels = len(world.tenant.structures)
    assert world.requests == len(COLLECTIONS) - 1 + levels
    assert sum(written(table) for table in summary.tables.values()) == 0
    assert sum(table.counts["ignored"] for table in summary.tables.values()) == 0


def test_a_field_of_a_catalog_that_changed_its_type_is_written_once(whole: World) -> None:
    id_, record = next(iter(whole.tenant.of("departments").items()))
    for colour in ("red", 5):
        whole.tenant.write("departments", id_, {**record, "colour": colour})
        assert written(run(whole, "departments").tables["departments"])
    assert whole.rows("departments")[id_]["colour__v_bigint"] == 5
    assert written(run(whole, "departments").tables["departments"]) == 0


@pytest.mark.parametrize("table", CATALOGS[::4])
def test_what_vanishes_from_a_catalog_is_marked_and_what_comes_back_is_live(
    whole: World, table: str
) -> None:
    run(whole, table)
    [name, *_] = [n for n in whole.tenant.collections if n.endswith(COLLECTIONS[table].name)]
    id_, record = next(iter(whole.tenant.of(name).items()))
    whole.tenant.write(name, id_, None)
    run(whole, table)
    row = whole.rows(table)[id_]
    assert (row["is_deleted"], row["delete_reason"]) == (True, "vanished")
    assert row["deleted_at"] is not None
    whole.check_tables(table)
    whole.tenant.of(name)[id_] = {**record, "changeVersion": "F" * 20}
    assert written(run(whole, table).tables[table]) == 1
    row = whole.rows(table)[id_]
    assert (row["is_deleted"], row["deleted_at"], row["delete_reason"]) == (False, None, None)


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


def test_a_sensitive_column_that_is_named_no_longer_is_emptied(whole: World) -> None:
    run(whole, "employers", sensitive_columns="employers.bank_account")
    assert any(row["bank_account"] for row in whole.rows("employers").values())
    run(whole, "employers")
    assert not any(row["bank_account"] for row in whole.rows("employers").values())
    assert written(run(whole, "employers").tables["employers"]) == 0


@pytest.mark.parametrize("table", ["clockings", "activity_durations"])
def test_a_record_with_the_status_of_a_deletion_is_soft_deleted(whole: World, table: str) -> None:
    run(whole, table)
    name = COLLECTIONS[table].name
    first, second = list(whole.tenant.of(name))[:2]
    for id_ in (first, second):
        record = whole.tenant.of(name)[id_]
        whole.tenant.write(name, id_, {**record, "status": "Deleted"})
    run(whole, table)
    row = whole.rows(table)[first]
    assert (row["is_deleted"], row["delete_reason"], row["status"]) == (
        True,
        "announced",
        "Deleted",
    )
    learnt = row["deleted_at"]
    record = whole.tenant.of(name)[second]
    whole.tenant.write(name, second, {**record, "status": "Active"})
    run(whole, table)
    assert not whole.rows(table)[second]["is_deleted"]
    whole.check_tables(table)
    load(whole.pipeline(), collections=[table], full_resync=True)
    assert whole.rows(table)[first]["deleted_at"] == learnt
    whole.check_tables(table)


def test_a_full_load_finds_what_was_deleted_by_status_meanwhile(whole: World) -> None:
    run(whole, "clockings")
    first, second = list(whole.tenant.of("clockings"))[:2]
    for id_ in (first, second):
        record = whole.tenant.of("clockings")[id_]
        whole.tenant.write("clockings", id_, {**record, "status": "Deleted"})
    whole.tenant.clock.advance(hours=73)
    counts = run(whole, "clockings").tables["clockings"].counts
    assert (counts["soft_deleted"], counts["vanished"]) == (2, 0)
    assert whole.rows("clockings")[first]["delete_reason"] == "announced"
    whole.check_tables("clockings")


def test_a_listing_that_lags_behind_a_return_neither_marks_nor_loses_it(whole: World) -> None:
    run(whole, "clockings")
    id_, record = next(iter(whole.tenant.of("clockings").items()))
    whole.tenant.write("clockings", id_, {**record, "status": "Active", "isGenerated": True})
    run(whole, "clockings")
    stored = whole.tenant.of("clockings")[id_]
    stale = {**record, "status": "Deleted"}
    assert stale["changeVersion"] < stored["changeVersion"]
    whole.tenant.of("clockings")[id_] = stale
    pipeline = whole.pipeline()
    pipeline.run(protime("clockings", full_resync=True, max_pages=2))
    while read_bookmark(pipeline, "clockings").full_load_in_progress:  # type: ignore[union-attr]
        pipeline.run(protime("clockings", max_pages=2))
    assert not whole.rows("clockings")[id_]["is_deleted"]


def test_one_that_was_deleted_before_it_was_seen_never_arrives(whole: World) -> None:
    id_ = next(iter(whole.tenant.of("clockings")))
    whole.tenant.write("clockings", id_, {**whole.tenant.of("clockings")[id_], "status": "Deleted"})
    run(whole, "clockings")
    assert id_ not in whole.rows("clockings")


@pytest.mark.parametrize(
    "is_sent", [(False, False), (True, False), (False, True)], ids=["never", "at first", "later"]
)
def test_activity_durations_may_lack_a_version(whole: World, is_sent: tuple[bool, bool]) -> None:
    lacking = Behaviour(without_version=("activity-durations",))
    for round_, is_there in enumerate((is_sent[0], is_sent[1], is_sent[1])):
        whole.tenant.behaviour = Behaviour() if is_there else lacking
        whole.tenant.change_other("activity-durations", 5, seed=round_)
        run(whole, "activity_durations")
        shown = {
            id_: row["duration_in_minutes"]
            for id_, row in whole.rows("activity_durations").items()
            if not row["is_deleted"]
        }
        records = whole.tenant.of("activity-durations")
        assert shown == {id_: each["durationInMinutes"] for id_, each in records.items()}


def test_the_definitions_of_other_levels_are_left_alone(
    whole: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(whole, "activity_definitions")
    everything = whole.rows("activity_definitions")
    monkeypatch.setenv("SOURCES__PROTIME__ACTIVITY_STRUCTURES", whole.tenant.structures[0])
    run(whole, "activity_definitions")
    assert whole.rows("activity_definitions") == everything
    assert {row["level"] for row in everything.values()} == {1, 2, 3}


def test_levels_can_be_joined_to_names(whole: World) -> None:
    run(whole, "assignments", "activity_definitions")
    [(levels, named)] = whole.query(f"""
        SELECT COUNT(*), COUNT(d.name) FROM {whole.dataset}.assignments__activity_levels l
        LEFT JOIN {whole.dataset}.activity_definitions d ON d.id = l.activity_definition_id
    """)
    assert levels == named > 0


@sql_engines
def test_arrays_have_views(whole: World) -> None:
    run(whole, "absence_definitions", "activity_durations")
    view = f"{whole.dataset}.absence_definitions__allowed_durations"
    assert whole.query(f"SELECT DISTINCT allowed_duration FROM {view} ORDER BY 1") == [
        ("FullDay",),
        ("HalfDay",),
    ]
    view = f"{whole.dataset}.activity_durations__counter_definitions"
    assert whole.query(f"SELECT DISTINCT counter_definition_id FROM {view}") == [(1,)]


@pytest.mark.parametrize("table", ["people", "departments", "clockings"])
def test_unknown_fields_and_enum_values_arrive(whole: World, table: str) -> None:
    run(whole, table)
    name = COLLECTIONS[table].name
    id_, record = next(iter(whole.tenant.of(name).items()))
    news = {"shoeSize": 44, "sex": "Unheard", "status": "Unheard"}
    whole.tenant.write(name, id_, {**record, **news})
    run(whole, table)
    row = whole.rows(table)[id_]
    assert row["shoe_size"] == 44
    assert "sex" not in row or table != "people"
    assert row.get("status", "Unheard") == "Unheard"


def test_definitions_have_no_window(whole: World) -> None:
    run(whole, "people", "assignments")
    asked = whole.tenant.api_requests
    assert {"filter" in r.query for r in asked if r.path.endswith("/people")} == {False}
    assert {"filter" in r.query for r in asked if r.path.endswith("/assignments")} == {True}


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


def test_soft_deleted_rows_do_not_make_the_guard_more_lenient(whole: World) -> None:
    run(whole, "clockings")
    ids = list(whole.tenant.of("clockings"))
    half = len(ids) // 2
    for id_ in ids[:half]:
        whole.tenant.write("clockings", id_, None)
    run(whole, "clockings")
    for id_ in ids[half : half + half // 2 + 1]:
        whole.tenant.write("clockings", id_, None)
    whole.tenant.clock.advance(hours=73)
    with pytest.raises(VanishedRowsError):
        run(whole, "clockings")


@pytest.mark.usefixtures("every_page_is_a_table")
def test_of_records_without_version_what_a_full_load_shows_last_counts(
    make_world: WorldFactory,
) -> None:
    """A record that two pages of the same full load show, and that is changed between them."""
    behaviour = Behaviour(without_version=("activity-durations",), page_overlap=5)
    world = make_world(page_size=10, behaviour=behaviour)
    name, table = "activity-durations", "activity_durations"
    last, record = [*world.tenant.of(name).items()][9]

    def change() -> None:
        world.tenant.write(name, last, {**record, "durationInMinutes": 77})

    world.tenant.faults.append(Moment(after=1, where=COLLECTIONS[table].path, action=change))
    run(world, table)
    assert world.rows(table)[last]["duration_in_minutes"] == 77


@sql_engines
@pytest.mark.parametrize("table", ["activity_durations", "departments"])
def test_a_collection_without_records_is_a_table_without_rows(whole: World, table: str) -> None:
    name = COLLECTIONS[table].name
    for id_ in list(whole.tenant.of(name)):
        whole.tenant.write(name, id_, None)
    for _ in range(2):
        run(whole, table)
        assert whole.rows(table) == {}


@pytest.mark.usefixtures("every_page_is_a_package")
def test_a_collection_that_is_refused_within_its_full_load_is_left_as_it_is(whole: World) -> None:
    where = COLLECTIONS["clockings"].path
    whole.tenant.faults.append(Fault("status", status=403, times=99, after=1, where=where))
    with pytest.raises(RefusedCollectionsError) as caught:
        run(whole, "clockings", "assignments")
    assert caught.value.tables == ("clockings",)
    assert len(whole.rows("clockings")) == 40
    whole.check_tables("assignments")
    whole.tenant.faults.clear()
    run(whole, "clockings")
    whole.check_tables("clockings")

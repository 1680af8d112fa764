"""A verification finds whatever makes a warehouse differ from Protime, and nothing else."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest

from protime_source import (
    DifferencesError,
    ExpiredError,
    RefusedCollectionsError,
    SettingsError,
    VerifyReport,
    WarehouseError,
    verify,
)
from protime_source.catalogue import COLLECTIONS
from protime_source.demo import Behaviour, Fault
from protime_source.demo.behaviour import ALL_SCOPES
from protime_source.pipeline.states import read_bookmark
from protime_source.verification import stored
from protime_source.verification.report import EXAMPLES
from tests.conftest import WorldFactory
from tests.engines import every_engine
from tests.world import Moment, World

OLDEST, NEWEST = "0" * 20, "F" * 20


def check(world: World, *tables: str, **arguments: Any) -> VerifyReport:
    return verify(world.pipeline(), *tables, **arguments)


def found(report: VerifyReport, table: str = "assignments") -> dict[str, list[Any]]:
    """The example ids by kind of difference; only kinds that were found."""
    kinds = report.tables[table].found
    assert all(each.count >= len(each.examples) for each in kinds.values())
    return {kind: list(each.examples) for kind, each in kinds.items() if each.count}


def notes(report: VerifyReport, table: str = "assignments") -> str:
    return " ".join(report.tables[table].notes)


def change(world: World, statement: str, table: str = "assignments") -> None:
    """Somebody writes to a table by hand."""
    world.query(statement.format(table=f"{world.dataset}.{table}"))


def tamper(world: World, id_: int, assignment: str) -> None:
    change(world, f"UPDATE {{table}} SET {assignment} WHERE id = {id_}")


def an_id(world: World) -> int:
    return sorted(world.live())[17]


def test_a_clean_warehouse_has_no_difference(world: World) -> None:
    world.run()
    world.tenant.churn(60)
    world.run()
    for deep in (False, True):
        report = check(world, deep=deep)
        assert found(report) == {}
        assert report.tables["assignments"].compared == len(world.tenant.records)
        assert (report.exit_code, report.not_compared, report.deep) == (0, {}, deep)
        report.raise_for_differences()


VALUES = {
    "person_id": "NULL",
    "until_date": "DATE '2020-01-01'",
    "is_rejected": "NOT is_rejected",
    "comments": "'changed'",
    "start_time_in_minutes": "COALESCE(start_time_in_minutes, 0) + 1",
    "break_duration_in_minutes": "-1",
    "activity_levels": "'[]'",
}
"""By column, what somebody makes of its value."""


@every_engine
def test_each_kind_of_tampering_is_found(world: World) -> None:
    """One table tampered with in every way, so that no engine needs more than one load."""
    world.run()
    world.tenant.delete(gone := an_id(world))
    world.run()
    ids = [id_ for id_ in sorted(world.live()) if id_ != gone]
    (deleted, added, lowered, raised, changed, hidden, emptied, _), ids = ids[:8], ids[8:]
    change(world, f"DELETE FROM {{table}} WHERE id = {deleted}")
    columns = "change_version, from_date, is_deleted, synced_at"
    change(
        world,
        f"INSERT INTO {{table}} (id, {columns}) SELECT 7, {columns} FROM {{table}}"
        f" WHERE id = {added}",
    )
    tamper(world, lowered, f"change_version = '{OLDEST}'")
    tamper(world, raised, f"change_version = '{NEWEST}'")
    tamper(world, changed, "person_id = person_id + 1")
    tamper(world, emptied, "activity_levels = NULL")
    tamper(world, hidden, "is_deleted = TRUE")
    tamper(world, gone, "is_deleted = FALSE")
    others = dict(zip(VALUES, ids, strict=False))
    changes = ", ".join(
        f"{column} = CASE WHEN id = {id_} THEN {VALUES[column]} ELSE {column} END"
        for column, id_ in others.items()
    )
    change(world, f"UPDATE {{table}} SET {changes} WHERE id > 7")
    shallow = {
        "missing": [deleted, hidden],
        "extra": [7, gone],
        "older": [lowered],
        "different": [raised],
    }
    report = check(world)
    assert found(report) == shallow
    assert report.exit_code == 8
    different = [raised, changed, emptied, *others.values()]
    assert found(check(world, deep=True, catch_up=False)) == {**shallow, "different": different}


def test_a_report_names_some_ids_and_says_what_to_do(world: World) -> None:
    world.run()
    change(world, "DELETE FROM {table} WHERE id % 2 = 0")
    report = check(world)
    missing = report.tables["assignments"].missing
    expected = [id_ for id_ in sorted(world.tenant.records) if id_ % 2 == 0]
    assert (missing.count, list(missing.examples)) == (len(expected), expected[:EXAMPLES])
    text = " ".join(str(report).split())
    assert f"{expected[0]}, {expected[1]}" in text
    assert "--full-resync" in text
    with pytest.raises(DifferencesError, match="assignments") as raised:
        report.raise_for_differences()
    assert (raised.value.exit_code, raised.value.report) == (8, report)


def test_an_emptied_table_lacks_every_record(world: World) -> None:
    """Whatever a run in between makes of it."""
    world.run()
    change(world, "DELETE FROM {table}")
    report = check(world)
    assert report.tables["assignments"].missing.count == 300
    assert report.exit_code == 8


def test_a_missing_table_lacks_every_record_and_stays_missing(world: World) -> None:
    world.run()
    world.query(f"DROP TABLE {world.dataset}.assignments CASCADE")
    report = check(world)
    assert report.tables["assignments"].missing.count == 300
    assert "does not exist" in notes(report)
    assert not world.engine.holds("assignments")


def test_a_warehouse_that_was_never_loaded_lacks_every_record(world: World) -> None:
    assert check(world, deep=True).tables["assignments"].missing.count == 300


def test_a_change_since_the_last_run_is_no_difference(world: World) -> None:
    """Without the run in between it is one, and the report says so."""
    world.run()
    before = world.rows()
    world.tenant.delete(gone := an_id(world))
    report = check(world, catch_up=False)
    assert found(report) == {"extra": [gone]}
    assert "since the last run" in notes(report)
    assert world.rows() == before
    world.tenant.churn(100)
    assert found(check(world, deep=True)) == {}
    world.check()
    assert found(check(world, deep=True, catch_up=False)) == {}
    change(world, f"DELETE FROM {{table}} WHERE id = {(id_ := an_id(world))}")
    kept = world.tenant.records[id_]
    for each in sorted(world.live())[100:140]:
        world.tenant.delete(each)
    assert found(check(world, deep=True)) == {"missing": [id_]}, "tampering among changes"
    assert world.tenant.records[id_] == kept


def test_a_change_between_the_looks_is_no_difference(make_world: WorldFactory) -> None:
    """It comes after the run in between, and before the lists are read again."""
    world = make_world(page_size=1000)
    world.run()
    id_, other = sorted(world.live())[17:19]

    def edit(comments: str) -> None:
        world.tenant.update(id_, {**world.tenant.records[id_], "comments": comments})

    edit("before the first look")
    tamper(world, other, f"change_version = '{OLDEST}'")
    end_of_first_year = f"{world.tenant.clock.today().year - 1}-12-31"
    second_look = Moment(
        where=end_of_first_year, after=1, action=lambda: edit("before the second look")
    )
    world.tenant.faults.append(second_look)
    report = check(world)
    assert second_look.spent
    assert found(report) == {"older": [other]}
    assert "1 record changed" in notes(report)


def test_it_leaves_the_delta_and_the_bookmark_alone(world: World) -> None:
    world.run()
    before = world.bookmark(), world.rows()
    tamper(world, id_ := an_id(world), "comments = 'changed'")
    world.tenant.clear_requests()
    assert found(check(world, deep=True, catch_up=False)) == {"different": [id_]}
    assert world.bookmark() == before[0]
    assert {each.query for each in world.tenant.api_requests if "delta" in each.query.lower()} == (
        set()
    )
    assert not any("/delta/" in each.path for each in world.tenant.api_requests)
    world.tenant.churn(10)
    world.tenant.clear_requests()
    world.lose_working_folder()
    world.run()
    assert world.requests == 1


def test_only_what_differs_is_loaded_in_between(world: World) -> None:
    world.load(collections=("assignments", "clockings"))
    before = read_bookmark(world.pipeline(), "clockings")
    world.tenant.churn(10)
    check(world, "assignments", "clockings")
    assert read_bookmark(world.pipeline(), "clockings") == before


def test_what_differs_before_a_full_load_in_between_counts(world: World) -> None:
    """The full load mends what is missing, but it skips rows of a version that it has."""
    world.run()
    missing, other, *_ = sorted(world.live())
    change(world, f"DELETE FROM {{table}} WHERE id = {missing}")
    world.tenant.clock.advance(hours=73)
    report = check(world)
    assert (found(report), report.exit_code) == ({"missing": [missing]}, 8)
    assert "did a full load" in notes(report)
    assert "the full load of the run in between mended it" in " ".join(str(report).split())
    assert "--full-resync" not in str(report)
    assert check(world).exit_code == 0
    tamper(world, other, "comments = 'mine'")
    world.tenant.clock.advance(hours=73)
    report = check(world, deep=True)
    assert found(report) == {"different": [other]}
    assert "Left after it: 1." in notes(report)
    assert "--full-resync" in str(report)


def test_a_full_load_that_is_not_complete_is_not_completed_by_it(world: World) -> None:
    world.run(max_pages=2)
    report = check(world)
    assert report.tables["assignments"].missing.count == 200
    assert "not complete" in notes(report)
    assert world.bookmark().full_load_in_progress


BEHAVIOURS = {
    "overlap": Behaviour(window="overlap"),
    "repeated rows": Behaviour(page_overlap=3),
    "empty pages": Behaviour(empty_middle_page=True, empty_last_page=True),
    "absolute links": Behaviour(link_style="absolute"),
    "undocumented fields": Behaviour(extra_fields={"colour": "red", "size": {"x": 1}}),
}


def test_whatever_the_lists_look_like(make_world: WorldFactory, subtests: pytest.Subtests) -> None:
    """The table has columns for the undocumented fields."""
    world = make_world(rows=100, behaviour=BEHAVIOURS["undocumented fields"])
    world.run()
    change(world, f"DELETE FROM {{table}} WHERE id = {(id_ := an_id(world))}")
    for name, behaviour in BEHAVIOURS.items():
        world.tenant.behaviour = behaviour
        with subtests.test(name):
            for deep in (False, True):
                assert found(check(world, deep=deep, catch_up=False)) == {"missing": [id_]}


def test_rows_before_the_window_do_not_count(world: World) -> None:
    world.run()
    start = f"{world.tenant.clock.today():%Y}-01-01"
    world.load(start_date=start)
    before = {id_ for id_, row in world.live().items() if str(row["from_date"]) < start}
    assert before
    report = check(world, start_date=start)
    assert found(report) == {}
    assert report.tables["assignments"].compared == 300 - len(before)


def test_each_request_is_for_a_year_at_most_and_all_years_with_rows_are_read(
    world: World,
) -> None:
    year = world.tenant.clock.today().year
    far = world.tenant.create(person={"id": 7}, **{"from": f"{year + 9}-06-01"})
    world.run()
    world.tenant.clear_requests()
    assert found(check(world)) == {}
    windows = {unquote(each.query).partition("&")[0] for each in world.tenant.api_requests}
    years = (year - 1, year, year + 1, year + 9, year + 10)
    assert windows == {f"filter=date ge '{y}-01-01' and date le '{y}-12-31'" for y in years}
    world.tenant.delete(far)
    assert found(check(world, catch_up=False)) == {"extra": [far]}


def test_a_list_whose_continuation_expires_is_read_again(world: World) -> None:
    world.run()
    world.tenant.faults.append(Fault("status", 409, where="continuationToken", times=2))
    assert found(check(world)) == {}
    world.tenant.faults.append(Fault("status", 409, where="continuationToken", times=9))
    with pytest.raises(ExpiredError):
        check(world)


def test_a_refused_collection_is_named_and_never_green(make_world: WorldFactory) -> None:
    scopes = tuple(scope for scope in ALL_SCOPES if "departments" not in scope)
    world = make_world()
    world.run()
    world.tenant.behaviour = Behaviour(granted_scopes=scopes)
    report = check(world, "departments", "assignments")
    assert report.tables["assignments"].compared == 300
    assert list(report.not_compared) == ["departments"]
    assert "connector-protimeapi-departments.read" in str(report)
    assert report.exit_code == 3
    with pytest.raises(RefusedCollectionsError, match="departments"):
        report.raise_for_differences()


def test_a_collection_may_have_several_scopes(make_world: WorldFactory) -> None:
    scopes = tuple(scope for scope in ALL_SCOPES if "historical" not in scope)
    world = make_world(behaviour=Behaviour(granted_scopes=scopes))
    world.load(collections=("job_histories",))
    report = check(world, "job_histories")
    assert (report.exit_code, report.tables["job_histories"].compared > 0) == (0, True)


def test_a_clocking_that_protime_calls_deleted_must_not_be_live(world: World) -> None:
    world.load(collections=("clockings",))
    id_, record = next(iter(world.tenant.of("clockings").items()))
    world.tenant.write("clockings", id_, {**record, "status": "Deleted"})
    assert found(check(world, "clockings", deep=True), "clockings") == {}
    change(world, f"UPDATE {{table}} SET is_deleted = FALSE WHERE id = {id_}", "clockings")
    for deep in (False, True):
        assert found(check(world, "clockings", deep=deep), "clockings") == {"extra": [id_]}


def test_without_versions_ids_and_values_are_compared(make_world: WorldFactory) -> None:
    world = make_world(behaviour=Behaviour(without_version=("activity-durations",)))
    table = "activity_durations"
    world.load(collections=(table,))
    assert check(world, table, deep=True).exit_code == 0
    first, second = sorted(world.rows(table))[:2]
    change(world, f"DELETE FROM {{table}} WHERE id = {first}", table)
    change(world, f"UPDATE {{table}} SET person_id = -1 WHERE id = {second}", table)
    differences = {"missing": [first], "different": [second]}
    assert found(check(world, table, deep=True), table) == differences


def test_activity_definitions_are_compared_by_structure_and_level(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, (one, two) = "activity_definitions", world.tenant.structures[:2]
    world.load(collections=(table,), activity_structures=(one, two))
    assert check(world, table, activity_structures=(one, two)).exit_code == 0
    assert check(world, table, activity_structures=(one,), deep=True).exit_code == 0
    level = int(two.rpartition("/")[2])
    [[guid]] = world.query(f"SELECT MIN(id) FROM {world.dataset}.{table} WHERE level = {level}")
    change(world, f"UPDATE {{table}} SET short_code = 'x' WHERE id = '{guid}'", table)
    assert check(world, table, activity_structures=(one,), deep=True).exit_code == 0
    report = check(world, table, activity_structures=(one, two), deep=True)
    assert found(report, table) == {"different": [guid]}
    with pytest.raises(SettingsError, match="activity_structures"):
        check(world, table)


def test_external_references_are_values_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "SOURCES__PROTIME__ASSIGNMENTS__EXTERNAL_REFERENCES"
    monkeypatch.setenv(name, "(people,@badge-number)")
    world.run()
    assert check(world, deep=True).exit_code == 0
    tamper(world, id_ := an_id(world), "person_badge_number = 'other'")
    assert found(check(world, deep=True, catch_up=False)) == {"different": [id_]}


def test_a_large_table_is_read_in_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "ROWS_PER_QUERY", 7)
    world.run()
    assert check(world).exit_code == 0
    change(world, f"DELETE FROM {{table}} WHERE id = {(id_ := an_id(world))}")
    assert found(check(world, catch_up=False)) == {"missing": [id_]}


def test_another_tenants_warehouse_is_refused(make_world: WorldFactory) -> None:
    make_world().run()
    other = make_world()
    with pytest.raises(WarehouseError, match="another tenant"):
        check(other)
    assert other.requests == 0


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_a_changed_record_of_every_kind_of_collection_is_no_difference(
    make_world: WorldFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(rows=120, page_size=40)
    monkeypatch.setenv("SOURCES__PROTIME__COLLECTIONS", "all")
    monkeypatch.setenv("SOURCES__PROTIME__ACTIVITY_STRUCTURES", ", ".join(world.tenant.structures))
    world.load()
    report = check(world, deep=True)
    assert set(report.tables) == set(COLLECTIONS)
    assert {table: found(report, table) for table in COLLECTIONS if found(report, table)} == {}
    assert all(table.compared for table in report.tables.values())
    for name in world.tenant.collections:
        world.tenant.change_other(name, 4)
    report = check(world, deep=True)
    differing = {table for table in COLLECTIONS if found(report, table)}
    assert all(not COLLECTIONS[table].has_delta for table in differing)
    assert all("no delta" in notes(report, table) for table in differing)

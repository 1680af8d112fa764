"""A push makes Protime have what is wanted, says what it does, and can be repeated."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from dlt.common.destination.exceptions import DestinationException

from protime_source import (
    AlreadyRunningError,
    SettingsError,
    TooManyDeletesError,
    UnwrittenRowsError,
    WarehouseError,
)
from protime_source import push as public_push
from protime_source.demo import Behaviour, Fault
from protime_source.pipeline.lock import one_run
from protime_source.writeback import push as push_module
from tests.conftest import WorldFactory
from tests.engines import every_engine, sql_engines
from tests.pushes import (
    DAY,
    FIRST_PERSON,
    Pusher,
    actions,
    check,
    creates,
    push,
    receipts,
    sent,
    wanted,
)
from tests.world import Moment, Row, World


@pytest.fixture(autouse=True)
def _nothing_is_at_work_after_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tenant answers at once, so there is nothing to wait for."""
    monkeypatch.setattr(push_module, "SETTLE_SECONDS", 0)


@pytest.fixture
def pusher(world: World) -> Iterator[Pusher]:
    """Pushes into the world."""
    with ExitStack() as opened:
        yield Pusher(world, opened)


def record(world: World, row: Row) -> Row:
    """What Protime has for a row, by its receipt."""
    [(id_,)] = world.query(
        f"SELECT id FROM {world.dataset}.assignment_writes WHERE key = '{row['key']}'"
        " AND action <> 'delete' AND status = 'done' ORDER BY intended_at DESC LIMIT 1"
    )
    return world.tenant.records[id_]


def reasons(report: Any) -> dict[str, str]:
    """By key, why a row is not as wanted."""
    return {row.key: row.reason for row in report.unwritten}


def test_a_plan_sends_nothing_and_leaves_nothing(world: World) -> None:
    report = push(world, wanted(3), apply=False)
    assert actions(report) == {"create": 3}
    assert report.exit_code == 0
    assert "This is the plan: nothing was sent." in str(report)
    assert sent(world) == []
    assert not world.database.exists()


@pytest.mark.parametrize("engine", ["bigquery"], indirect=True)
def test_bigquery_keeps_receipts_too(world: World, pusher: Pusher) -> None:
    rows = wanted(4)
    with pusher.killed_at(3, only=creates):
        pusher.push(rows)
    rows[0]["comments"] = "später"
    report = pusher.push(rows)
    assert actions(report) == {"update": 1, "create": 2, "unchanged": 1, "done": 3}
    check(world, rows)
    statuses = [(key, action, status) for key, _, action, status, _ in receipts(world)]
    assert statuses == [
        ("shift-0", "create", "done"),
        ("shift-1", "create", "done"),
        ("shift-2", "create", "failed"),
        ("shift-3", "create", "failed"),
        ("shift-0", "update", "done"),
        ("shift-2", "create", "done"),
        ("shift-3", "create", "done"),
    ]


@sql_engines
def test_rows_are_created_once_then_updated_and_deleted_by_their_keys(
    world: World, pusher: Pusher
) -> None:
    """And the next run's delta brings them; the push writes neither the table nor the bookmark."""
    world.run()
    before, bookmark = world.rows(), world.bookmark()
    rows = wanted(6)
    assert actions(pusher.push(rows)) == {"create": 6, "done": 6}
    assert actions(pusher.push(rows)) == {"unchanged": 6}
    check(world, rows)
    rows[0]["end_time_in_minutes"] = 700
    rows[1]["is_deleted"] = True
    report = pusher.push(rows)
    assert actions(report) == {"update": 1, "delete": 1, "unchanged": 4, "done": 2}
    assert report.rows[0].changes == {"end_time_in_minutes": (None, 700)}
    check(world, rows)
    assert actions(pusher.push(rows)) == {"unchanged": 6}
    assert (world.rows(), world.bookmark()) == (before, bookmark)
    world.run()
    world.check()
    assert [(key, action) for key, _, action, status, _ in receipts(world) if status == "done"] == [
        *((row["key"], "create") for row in rows),
        ("shift-0", "update"),
        ("shift-1", "delete"),
    ]


@pytest.mark.parametrize(
    ("created_body", "delete_status", "fills_in"),
    [(False, 200, False), (False, 204, True), (True, 200, True), (True, 204, False)],
)
def test_whatever_protime_answers_to_a_write(
    make_world: WorldFactory, created_body: bool, delete_status: Any, fills_in: bool
) -> None:
    switches = {"delete_status": delete_status, "fills_in": fills_in}
    world = make_world(rows=0, behaviour=Behaviour(created_body=created_body, **switches))
    rows = wanted(4)
    rows[3].pop("comments")
    assert actions(push(world, rows)) == {"create": 4, "done": 4}
    assert actions(push(world, rows)) == {"unchanged": 4}
    rows[2] |= {"comments": None, "until_date": rows[2]["from_date"] + timedelta(days=1)}
    rows[3]["is_deleted"] = True
    rows[1]["from_date"] += timedelta(days=2)
    assert actions(push(world, rows)) == {"update": 2, "delete": 1, "unchanged": 1, "done": 3}
    assert actions(push(world, rows)) == {"unchanged": 4}
    assert len(world.tenant.records) == 3


def test_a_record_may_have_its_id_in_the_body_alone(world: World, pusher: Pusher) -> None:
    answer = Fault("status", status=201, body='{"id": 4711}', after=1)
    world.tenant.faults.append(answer)
    [row] = pusher.push(wanted(1)).rows
    assert (row.status, row.id) == ("done", 4711)


SOURCES: dict[str, Callable[[list[Row]], Any]] = {
    "iterator": iter,
    "table": pa.Table.from_pylist,
    "reader": lambda rows: pa.Table.from_pylist(rows).to_reader(),
    "relation": lambda rows: duckdb.from_arrow(pa.Table.from_pylist(rows)),
    "data frame": lambda rows: pa.Table.from_pylist(rows).to_pandas(),
}


def test_rows_come_from_dicts_and_all_that_arrow_reads(
    world: World, pusher: Pusher, subtests: pytest.Subtests
) -> None:
    rows = wanted(4)
    rows[1]["break_duration_in_minutes"] = 30  # so that pandas makes floats of this column
    assert actions(pusher.push(rows)) == {"create": 4, "done": 4}
    for name, source in SOURCES.items():
        with subtests.test(name):
            rows[2]["comments"] = name
            full = [{"break_duration_in_minutes": None, **row} for row in rows]
            report = pusher.push(source(full))
            assert actions(report) == {"update": 1, "unchanged": 3, "done": 1}
            check(world, rows)


@sql_engines
def test_rows_come_from_a_query_on_the_warehouse(world: World, pusher: Pusher) -> None:
    """With the columns of the table as they are, JSON included: nothing differs."""
    world.run()
    query = (
        "SELECT 'a-' || CAST(id AS VARCHAR(20)) AS key, t.* FROM assignments t WHERE NOT is_deleted"
    )
    report = pusher.push(query)
    assert actions(report) == {"unchanged": 300}
    world.query(f"CREATE TABLE {world.dataset}.roster AS SELECT * FROM {world.dataset}.assignments")
    world.query(f"UPDATE {world.dataset}.roster SET comments = 'from the roster' WHERE id % 50 = 0")
    report = pusher.push(query.replace("assignments", "roster"))
    assert actions(report) == {"update": 6, "unchanged": 294, "done": 6}
    world.run()
    world.check()
    assert sum(row["comments"] == "from the roster" for row in world.live().values()) == 6


def test_rows_come_from_a_relation_of_dlt(world: World, pusher: Pusher) -> None:
    relation = world.run().dataset()("SELECT id, id AS key, 'x' AS comments FROM assignments")
    assert actions(pusher.push(relation.limit(3))) == {"update": 3, "done": 3}


WRONG_QUERIES = {
    "SELEC 1": "(?i)syntax",
    "SELECT * FROM nowhere": "nowhere",
    "SELECT no_column FROM assignment_writes": "no_column",
}


@every_engine
def test_a_query_that_the_engine_does_not_understand_is_refused(world: World) -> None:
    push(world, wanted(1))
    world.tenant.clear_requests()
    for query, words in WRONG_QUERIES.items():
        message = rf"{words}.*(?<![.!])\. Nothing was sent\. Correct"
        with pytest.raises(SettingsError, match=message):
            push(world, query, apply=False)
    assert sent(world) == []


def test_what_holds_no_rows_is_refused(world: World) -> None:
    for rows in ({"key": "a"}, 7, [1], ["key"]):
        with pytest.raises(SettingsError, match="A push needs rows"):
            push(world, rows)
    assert world.requests == 0


def test_a_query_needs_a_warehouse(world: World) -> None:
    with pytest.raises(SettingsError, match=r"There is no .*warehouse\.duckdb"):
        push(world, "SELECT 1", apply=False)
    assert not world.database.exists()


def test_a_column_that_is_left_out_stays_and_an_empty_value_empties_it(
    world: World, pusher: Pusher
) -> None:
    rows = wanted(1)
    pusher.push(rows)
    key = {"key": rows[0]["key"]}
    assert actions(pusher.push([{**key, "end_time_in_minutes": 900}])) == {"update": 1, "done": 1}
    assert record(world, rows[0])["comments"] == "Zaal 3"
    pusher.push([{**key, "comments": None}])
    assert "comments" not in record(world, rows[0])
    assert record(world, rows[0])["endTimeInMinutes"] == 900


def test_fields_that_nobody_documented_go_back_as_they_came(world: World, pusher: Pusher) -> None:
    level = {"level": 1, "activityDefinition": {"id": "0" * 8 + "-0000-0000-0000-" + "0" * 12}}
    new = world.tenant.create(
        {
            "person": {"id": FIRST_PERSON, "badge": "B7"},
            "from": DAY.isoformat(),
            "colour": "red",
            "activityLevels": [{**level, "note": "x"}],
        }
    )
    second = {"level": 2, "activity_definition_id": "1" * 8 + "-1111-1111-1111-" + "1" * 12}
    wanted_levels = [{"level": 1, "activity_definition_id": level["activityDefinition"]["id"]}]  # type: ignore[index]
    row = {"key": "a", "id": new, "comments": "later", "activity_levels": [*wanted_levels, second]}
    assert actions(pusher.push([row])) == {"update": 1, "done": 1}
    after = world.tenant.records[new]
    assert (after["colour"], after["person"]["badge"]) == ("red", "B7")
    assert after["activityLevels"][0] == {**level, "note": "x"}
    assert len(after["activityLevels"]) == 2


def test_a_row_that_is_gone_is_left_alone_and_a_deleted_one_can_be_wanted_again(
    world: World, pusher: Pusher
) -> None:
    rows = wanted(3)
    pusher.push(rows)
    assert actions(pusher.push(rows[:1])) == {"unchanged": 1}
    check(world, rows)
    rows[0]["is_deleted"] = True
    pusher.push(rows)
    rows[0]["is_deleted"] = False
    assert actions(pusher.push(rows)) == {"create": 1, "unchanged": 2, "done": 1}
    check(world, rows)
    report = pusher.push([{"key": "never-heard-of", "is_deleted": True}])
    assert actions(report) == {"unchanged": 1}
    assert report.rows[0].reason == "no assignment is known by its key"


def test_an_id_names_an_assignment_that_is_there(world: World, pusher: Pusher) -> None:
    world.run()
    id_ = min(world.tenant.records)
    row = {"key": "a", "id": id_, "comments": "by its id"}
    assert actions(pusher.push([row])) == {"update": 1, "done": 1}
    del row["id"]  # from now on its key stands for it
    assert actions(pusher.push([{**row, "comments": "by its key"}])) == {"update": 1, "done": 1}
    assert world.tenant.records[id_]["comments"] == "by its key"
    others = [{"key": "b", "id": 7, "comments": "x"}, {"key": "c", "id": id_, "comments": "x"}]
    report = pusher.push([*others, {**row, "id": id_ + 1}])
    assert reasons(report) == {
        "c": "its id belongs to the key a",
        "b": "Protime has no assignment 7",
        "a": f"its id is {id_ + 1}, but its key stands for {id_}",
    }


def test_what_changed_in_protime_since_is_not_overwritten_without_force(
    world: World, pusher: Pusher
) -> None:
    rows = wanted(3)
    pusher.push(rows)
    world.run()
    for row in rows[:2]:
        there = record(world, row)
        world.tenant.update(there["id"], {**there, "endTimeInMinutes": 1000})
    rows[0]["comments"] = "mine"
    rows[1]["is_deleted"] = True
    rows[2]["comments"] = "mine too"
    report = pusher.push(rows)
    assert actions(report) == {"conflict": 2, "update": 1, "done": 1}
    assert "changed in Protime since the version that the warehouse has" in report.rows[0].reason
    assert report.exit_code == UnwrittenRowsError.exit_code == 3
    assert record(world, rows[0])["comments"] == "Zaal 3"
    assert actions(pusher.push(rows, force=True)) == {
        "update": 1,
        "delete": 1,
        "unchanged": 1,
        "done": 2,
    }
    assert record(world, rows[0])["endTimeInMinutes"] == 1000


def test_what_the_warehouse_has_seen_since_is_no_conflict_nor_is_what_a_push_wrote(
    world: World, pusher: Pusher
) -> None:
    rows = wanted(1)
    pusher.push(rows)
    for comments in ("without a run in between", "again"):
        rows[0]["comments"] = comments
        assert actions(pusher.push(rows)) == {"update": 1, "done": 1}
    there = record(world, rows[0])
    world.tenant.update(there["id"], {**there, "comments": "theirs"})
    world.run()
    assert actions(pusher.push(rows)) == {"update": 1, "done": 1}


def test_a_version_in_the_row_is_the_one_that_must_not_have_changed(
    world: World, pusher: Pusher
) -> None:
    world.run()
    first, second = sorted(world.tenant.records)[:2]
    seen = {id_: world.tenant.records[id_]["changeVersion"] for id_ in (first, second)}
    world.tenant.update(first, {**world.tenant.records[first], "comments": "theirs"})
    world.run()
    rows = [
        {"key": str(id_), "id": id_, "change_version": seen[id_], "comments": "mine"}
        for id_ in (first, second)
    ]
    report = pusher.push(rows)
    assert actions(report) == {"conflict": 1, "update": 1, "done": 1}
    assert "since the version that the row was made from" in report.rows[0].reason


def test_what_changes_between_the_plan_and_its_request_is_not_overwritten(
    world: World, pusher: Pusher
) -> None:
    rows = wanted(2)
    pusher.push(rows)
    there = record(world, rows[0])

    def change() -> None:
        world.tenant.update(there["id"], {**there, "endTimeInMinutes": 1000})

    world.tenant.faults.append(Moment(where=f"assignments/{there['id']}", action=change))
    rows[0]["comments"] = rows[1]["comments"] = "mine"
    report = pusher.push(rows)
    assert actions(report) == {"update": 2, "failed": 1, "done": 1}
    assert "changed in Protime since the plan" in report.rows[0].reason
    assert record(world, rows[0])["comments"] == "Zaal 3"


def test_an_assignment_that_somebody_deleted_is_not_quietly_created_anew(
    world: World, pusher: Pusher
) -> None:
    rows = wanted(2)
    pusher.push(rows)
    world.tenant.delete(record(world, rows[0])["id"])
    report = pusher.push(rows)
    assert actions(report) == {"conflict": 1, "unchanged": 1}
    assert "was deleted in Protime" in report.rows[0].reason
    assert actions(pusher.push(rows, force=True)) == {"create": 1, "unchanged": 1, "done": 1}
    check(world, rows)


def test_rows_that_are_not_valid_are_said_and_the_others_are_sent(
    world: World, pusher: Pusher
) -> None:
    rows = wanted(8)
    rows[0]["colour"] = "red"
    rows[1]["key"] = rows[2]["key"]
    rows[3]["person_id"] = "somebody"
    rows[4]["until_date"] = DAY - timedelta(days=30)
    rows[5].pop("from_date")
    plan = pusher.push(rows, apply=False)
    assert plan.exit_code == 3
    assert actions(plan) == {"invalid": 6, "create": 2}
    assert [row.reason for row in plan.rows[:6]] == [
        "unknown column colour",
        "row 3 has the same key",
        "row 2 has the same key",
        "person_id is not a whole number",
        "until_date is before from_date",
        "from_date missing: a new assignment needs it",
    ]
    with pytest.raises(
        UnwrittenRowsError, match="6 of 8 rows were not written: 6 invalid"
    ) as caught:
        public_push(rows, world.pipeline(), apply=True)
    assert actions(caught.value.report) == {"invalid": 6, "create": 2, "done": 2}
    check(world, rows[6:])


def test_a_row_that_protime_refuses_does_not_stop_the_others(world: World, pusher: Pusher) -> None:
    refusal = Fault("status", status=400, body='{"validationErrors": ["no contract"]}', after=2)
    world.tenant.faults.append(refusal)
    rows = wanted(4)
    report = pusher.push(rows)
    assert actions(report) == {"create": 4, "done": 3, "failed": 1}
    assert "no contract" in report.rows[1].reason
    [failed] = [each for each in receipts(world) if each[3] == "failed"]
    assert failed[:4] == ("shift-1", None, "create", "failed")
    assert "no contract" in failed[4]
    assert actions(pusher.push(rows)) == {"create": 1, "unchanged": 3, "done": 1}
    check(world, rows)


def test_too_many_deletes_send_nothing_at_all(world: World) -> None:
    rows = wanted(20)
    push(world, rows)
    for row in rows[:11]:
        row["is_deleted"] = True
    rows += wanted(1, key="new", person_id=FIRST_PERSON + 9)
    world.tenant.clear_requests()
    with pytest.raises(TooManyDeletesError, match=r"delete 11 of the 20 .* \(55%\)") as caught:
        public_push(rows, world.pipeline(), apply=True)
    assert caught.value.report.exit_code == TooManyDeletesError.exit_code == 5
    assert sent(world) == []
    rows[10]["is_deleted"] = False
    assert public_push(rows, world.pipeline(), apply=True).counts["done"] == 11
    check(world, rows)
    assert push(world, [{"key": "new", "is_deleted": True}], max_deleted_share=0).exit_code == 5


@pytest.mark.parametrize("created_body", [False, True])
def test_a_create_whose_answer_is_lost_is_found_and_not_repeated(
    make_world: WorldFactory, created_body: bool
) -> None:
    world = make_world(behaviour=Behaviour(created_body=created_body))
    world.tenant.faults.append(Fault("cut", after=2, times=1))
    rows = wanted(4)
    report = push(world, rows)
    assert actions(report) == {"create": 4, "done": 4}
    check(world, rows)
    assert actions(push(world, rows)) == {"unchanged": 4}


@pytest.mark.parametrize("fault", [Fault("drop", after=2), Fault("status", status=503, after=2)])
def test_a_create_that_got_no_answer_and_is_not_there_is_left_to_the_next_push(
    world: World, fault: Fault, pusher: Pusher
) -> None:
    """It may still be at work there, so this push does not repeat it."""
    world.tenant.faults.append(fault)
    rows = wanted(4)
    report = pusher.push(rows)
    assert actions(report) == {"create": 4, "done": 3, "unknown": 1}
    assert "Push again, which looks before it sends." in report.problem
    assert [status for *_, status, _ in receipts(world)].count("intended") == 1
    assert actions(pusher.push(rows)) == {"create": 1, "unchanged": 3, "done": 1}
    check(world, rows)


def test_an_update_that_got_no_answer_is_compared_by_the_next_push(
    world: World, monkeypatch: pytest.MonkeyPatch, pusher: Pusher
) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "1")
    rows = wanted(2)
    pusher.push(rows)
    rows[0]["comments"] = rows[1]["comments"] = "later"
    id_ = record(world, rows[0])["id"]
    world.tenant.faults.append(Fault("cut", where=f"assignments/{id_}", after=1))
    assert actions(pusher.push(rows)) == {"update": 2, "done": 1, "unknown": 1}
    assert actions(pusher.push(rows)) == {"unchanged": 2}
    assert {status for *_, status, _ in receipts(world)} == {"done"}


@sql_engines
def test_two_that_cannot_be_told_apart_are_uncertain_and_never_created_twice(
    world: World, pusher: Pusher
) -> None:
    rows = wanted(1)
    with pusher.killed_at(1, only=creates):
        pusher.push(rows)
    [created] = [r["id"] for r in world.tenant.records.values() if r["person"]["id"] > 900_000]
    twin = world.tenant.create(world.tenant.records[created])
    for _ in range(2):
        report = pusher.push(rows)
        assert actions(report) == {"uncertain": 1}
        assert f"{created}, {twin}. Give the row the id of the right one" in report.rows[0].reason
        assert report.exit_code == 3
    check(world, rows, others=1)
    world.tenant.delete(twin)
    assert actions(pusher.push(rows)) == {"unchanged": 1}
    assert receipts(world) == [("shift-0", created, "create", "done", None)]


def test_the_id_in_the_row_settles_what_is_uncertain(world: World, pusher: Pusher) -> None:
    rows = wanted(1)
    with pusher.killed_at(1, only=creates):
        pusher.push(rows)
    [created] = [r["id"] for r in world.tenant.records.values() if r["person"]["id"] > 900_000]
    world.tenant.create(world.tenant.records[created])
    assert actions(pusher.push(rows)) == {"uncertain": 1}
    assert actions(pusher.push([{**rows[0], "id": created}])) == {"unchanged": 1}
    assert actions(pusher.push(rows)) == {"unchanged": 1}


@pytest.mark.parametrize("moment", [0, 1])
def test_one_that_was_there_before_is_not_taken_for_what_was_created(
    world: World, pusher: Pusher, moment: int
) -> None:
    rows = wanted(1)
    there = {"person": {"id": FIRST_PERSON}, "from": DAY.isoformat(), "comments": "Zaal 3"}
    before = world.tenant.create({**there, "startTimeInMinutes": 480})
    with pusher.killed_at(moment, only=creates):
        pusher.push(rows)
    report = pusher.push(rows)
    assert report.exit_code == 0
    assert report.rows[0].id != before
    check(world, rows, others=1)


def test_a_row_that_names_another_day_after_a_kill_waits_for_what_the_delta_tells(
    world: World, pusher: Pusher
) -> None:
    rows = wanted(1)
    world.run()
    with pusher.killed_at(1, only=creates):
        pusher.push(rows)
    moved = [{**rows[0], "from_date": DAY + timedelta(days=30)}]
    report = pusher.push(moved)
    assert actions(report) == {"uncertain": 1}
    assert "for another person or day" in report.rows[0].reason
    world.run()
    assert actions(pusher.push(moved)) == {"update": 1, "done": 1}
    check(world, moved)


def test_a_row_with_other_values_after_a_kill_finds_what_was_sent(
    world: World, pusher: Pusher
) -> None:
    rows = wanted(2)
    with pusher.killed_at(1, only=creates):
        pusher.push(rows)
    rows[0]["comments"] = rows[1]["comments"] = "changed since"
    assert actions(pusher.push(rows)) == {"update": 1, "create": 1, "done": 2}
    check(world, rows)


def test_a_deletion_after_a_kill_finds_what_was_created(world: World, pusher: Pusher) -> None:
    rows = wanted(1)
    with pusher.killed_at(1, only=creates):
        pusher.push(rows)
    rows[0]["is_deleted"] = True
    assert actions(pusher.push(rows)) == {"delete": 1, "done": 1}
    check(world, rows)


def test_a_row_wanted_again_after_its_deletion_got_no_answer_is_created(
    world: World, pusher: Pusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "1")
    rows = wanted(1)
    pusher.push(rows)
    id_ = record(world, rows[0])["id"]
    world.tenant.faults.append(Fault("cut", where=f"assignments/{id_}", after=1))
    assert actions(pusher.push([{**rows[0], "is_deleted": True}])) == {"delete": 1, "unknown": 1}
    assert actions(pusher.push(rows)) == {"create": 1, "done": 1}
    check(world, rows)


def test_an_id_in_one_row_makes_its_twin_no_more_certain(world: World, pusher: Pusher) -> None:
    rows = wanted(2)
    with pusher.killed_at(3, only=creates):  # both were sent
        pusher.push(rows)
    created = sorted(r["id"] for r in world.tenant.records.values() if r["person"]["id"] > 900_000)
    third = world.tenant.create(world.tenant.records[created[0]])
    report = pusher.push([{**rows[0], "id": created[0]}, rows[1]])
    assert actions(report) == {"unchanged": 1, "uncertain": 1}
    assert f"{created[1]}, {third}" in report.rows[1].reason


def test_an_uncertain_answer_still_knows_what_was_there_before(
    world: World, pusher: Pusher
) -> None:
    there: Row = {"person": {"id": FIRST_PERSON}, "from": DAY.isoformat(), "comments": "Zaal 3"}
    there["startTimeInMinutes"] = 480
    before = world.tenant.create(there)
    rows = wanted(1)
    world.tenant.faults += [
        Moment(after=2, action=lambda: world.tenant.create(there)),
        Fault("cut", after=1),
    ]
    report = pusher.push(rows)
    assert actions(report) == {"create": 1, "uncertain": 1}
    world.tenant.delete(max(world.tenant.records))
    report = pusher.push(rows)
    assert actions(report) == {"unchanged": 1}
    assert report.rows[0].id not in (None, before)
    check(world, rows, others=1)


def test_one_that_was_there_before_is_not_taken_for_a_create_without_an_answer(
    world: World, pusher: Pusher
) -> None:
    rows = wanted(1)
    there = {"person": {"id": FIRST_PERSON}, "from": DAY.isoformat(), "comments": "Zaal 3"}
    world.tenant.create({**there, "startTimeInMinutes": 480})
    world.tenant.faults.append(Fault("drop", after=1))
    assert actions(pusher.push(rows)) == {"create": 1, "unknown": 1}
    assert actions(pusher.push(rows)) == {"create": 1, "done": 1}
    check(world, rows, others=1)


def test_a_stop_ends_after_the_request_in_flight(world: World, pusher: Pusher) -> None:
    def stop() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    world.tenant.faults.append(Moment(after=2, action=stop))
    rows = wanted(6)
    report = pusher.push(rows)
    assert report.exit_code == 128 + signal.SIGTERM
    assert [row.status for row in report.rows] == ["done"] * 2 + ["not sent"] * 4
    assert report.rows[-1].reason == "the push was stopped"
    assert [status for *_, status, _ in receipts(world)] == ["done"] * 2 + ["failed"] * 4
    assert actions(pusher.push(rows)) == {"create": 4, "unchanged": 2, "done": 4}
    check(world, rows)


def test_rows_that_fail_for_a_reason_not_theirs_stop_the_push(
    world: World, pusher: Pusher, caplog: pytest.LogCaptureFixture
) -> None:
    world.tenant.faults.append(Fault("status", status=403, after=1, times=99))
    caplog.set_level("INFO", "protime_source.progress")
    report = pusher.push(wanted(130))
    assert sent(world) == [("POST", 403)] * 5
    assert actions(report) == {"create": 130, "failed": 5, "not sent": 125}
    assert "5 failed, 125 not sent. It stopped because too many rows failed" in report.problem
    assert report.rows[-1].reason == "too many rows failed in a row"
    assert "5 of 130 changes sent" in caplog.messages
    text = " ".join(str(report).split())
    assert text.count("403") == text.count("too many rows failed in a row") == 1
    assert "The next run brings" not in text


@pytest.mark.parametrize("action", ["create", "update"])
def test_after_a_server_died_only_what_may_have_arrived_is_unknown(
    world: World, pusher: Pusher, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "1")
    rows = wanted(4)
    if action == "update":
        pusher.push(rows)
        rows = [{**row, "comments": "later"} for row in rows]

    def die() -> None:
        world.server._server.shutdown()
        world.server._server.server_close()
        raise ConnectionError

    world.tenant.faults.append(Moment(after=1 + (action == "update"), action=die))
    report = pusher.push(rows)
    assert actions(report) == {action: 4, "unknown": 1, "not sent": 3}
    assert report.rows[0].status == "unknown"
    assert "cannot be reached" in report.rows[1].reason
    assert str(report).count("as above") == 2
    statuses = [each[3] for each in receipts(world)][-4:]
    assert statuses == ["intended", "failed", "failed", "failed"]


def test_a_push_that_sent_nothing_says_so(world: World, pusher: Pusher) -> None:
    def withdraw() -> None:
        world.tenant.revoke_tokens()
        world.tenant.behaviour = Behaviour(granted_scopes=())

    world.tenant.faults.append(Moment(after=1, action=withdraw))
    report = pusher.push(wanted(2))
    assert actions(report) == {"create": 2, "not sent": 2}
    assert report.problem.endswith("Nothing was sent.")
    assert "Receipts are" not in str(report)


def test_a_change_whose_first_attempt_got_no_answer_may_have_arrived(
    world: World, pusher: Pusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = wanted(1)
    pusher.push(rows)
    id_ = record(world, rows[0])["id"]
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "2")
    world.tenant.faults += [
        Fault("cut", where=f"assignments/{id_}", after=1),
        Fault("status", status=429, where=f"assignments/{id_}", after=1),
    ]
    rows[0]["comments"] = "later"
    assert actions(pusher.push(rows)) == {"update": 1, "unknown": 1}
    assert actions(pusher.push(rows)) == {"unchanged": 1}


def test_a_push_that_breaks_off_after_a_request_says_what_to_do(
    world: World, pusher: Pusher
) -> None:
    def lose_receipts() -> None:
        world.query(f"DROP TABLE {world.dataset}.assignment_writes")

    world.tenant.faults.append(Moment(after=1, action=lose_receipts))
    with pytest.raises(DestinationException) as raised:
        pusher.push(wanted(1))
    assert raised.value.__notes__ == ["Push again: what was sent has a receipt."]


@pytest.mark.parametrize("lost", ["key", "id"])
def test_a_push_is_refused_when_nothing_tells_what_was_sent(
    world: World, pusher: Pusher, lost: str
) -> None:
    rows = wanted(1)
    pusher.push(rows)
    world.query(f"ALTER TABLE {world.dataset}.assignment_writes DROP COLUMN {lost}")
    with pytest.raises(WarehouseError, match=f"assignment_writes lacks {lost}, so nothing tells"):
        pusher.push(rows)


def test_an_end_before_the_start_is_warned_of(world: World, pusher: Pusher) -> None:
    """Protime does not document that it refuses it."""
    rows = wanted(1, start_time_in_minutes=990, end_time_in_minutes=480)
    plan = pusher.push(rows, apply=False)
    warning = "warning: it ends (480) before it starts (990); on the next day it ends at 1920"
    assert plan.rows[0].warning == warning
    assert plan.exit_code == 0
    text = " ".join(str(plan).split())
    assert warning in text
    assert "1 row with a warning." in text
    rows[0]["end_time_in_minutes"] = 1920
    assert pusher.push(rows).rows[0].warning == ""
    update = {"key": rows[0]["key"], "end_time_in_minutes": 480}
    assert pusher.push([update], apply=False).rows[0].warning == warning
    assert pusher.push([{**update, "end_time_in_minutes": 1920}]).rows[0].warning == ""


def test_what_is_adopted_is_said(world: World, pusher: Pusher) -> None:
    rows = wanted(2, days=1)
    with pusher.killed_at(1, only=creates):
        pusher.push(rows[:1])
    report = pusher.push(rows)
    assert report.rows[0].reason == "adopted: an earlier push created it"
    assert "1 adopted: an earlier push had created it." in str(report)


def test_a_reason_of_a_receipt_says_only_what_is_possible(
    world: World, pusher: Pusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "1")
    rows = wanted(1)
    pusher.push(rows)
    id_ = record(world, rows[0])["id"]
    world.tenant.faults.append(Fault("drop", where=f"assignments/{id_}", after=1))
    gone = [{**rows[0], "is_deleted": True}]
    assert actions(pusher.push(gone)) == {"delete": 1, "unknown": 1}
    pusher.push(gone)
    [reason] = [each[4] for each in receipts(world) if each[3] == "failed"]
    assert reason == "It did not reach Protime."


def test_another_push_that_slips_past_the_lock_is_noticed(world: World, pusher: Pusher) -> None:
    rows = wanted(3)
    pusher.push(rows[:1])

    def write_receipt() -> None:
        table = f"{world.dataset}.assignment_writes"
        world.query(f"INSERT INTO {table} (run_id, key, status) VALUES ('x', 'y', 'intended')")

    world.tenant.faults.append(Moment(action=write_receipt))
    world.tenant.clear_requests()
    with pytest.raises(AlreadyRunningError, match="Another push writes receipts"):
        pusher.push(rows)
    assert sent(world) == []


def test_one_push_or_run_at_a_time(world: World) -> None:
    with one_run(world.pipeline().working_dir), ThreadPoolExecutor(1) as elsewhere:
        pushed = elsewhere.submit(push_module.push, wanted(1), world.pipeline(), apply=True)
        with pytest.raises(AlreadyRunningError):
            pushed.result()
    assert sent(world) == []


def test_receipts_of_another_tenant_are_refused(world: World, make_world: WorldFactory) -> None:
    push(world, wanted(1))
    other = make_world()
    with pytest.raises(WarehouseError, match="holds receipts of another tenant"):
        push(other, wanted(1))
    assert other.requests == 0


def test_rows_of_another_tenant_are_refused(world: World, make_world: WorldFactory) -> None:
    world.run()
    other = make_world()
    with pytest.raises(WarehouseError, match="holds rows of another tenant"):
        push(other, wanted(1))
    assert other.requests == 0


def test_neither_receipts_nor_logs_hold_what_was_sent(
    world: World, caplog: pytest.LogCaptureFixture, pusher: Pusher
) -> None:
    caplog.set_level("INFO")
    world.tenant.faults.append(Fault("status", status=503, after=2))
    pusher.push(wanted(4, comments="private words"))
    pusher.push(wanted(4, comments="private words"))
    everything = str(world.query(f"SELECT * FROM {world.dataset}.assignment_writes")) + caplog.text
    assert "private" not in everything
    assert str(FIRST_PERSON) not in everything
    assert DAY.isoformat() not in everything


def test_a_push_waits_until_what_was_cut_off_can_no_longer_be_at_work(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.tenant.faults.append(Fault("drop", after=1))
    push(world, wanted(1))
    monkeypatch.setattr(push_module, "SETTLE_SECONDS", 2.0)
    report = push(world, wanted(1))
    assert "an earlier push was cut off" in caplog.text
    intended, _ = world.query(
        f"SELECT intended_at FROM {world.dataset}.assignment_writes ORDER BY intended_at"
    )
    assert (datetime.now(UTC) - intended[0]).total_seconds() > 2
    caplog.clear()
    push(world, wanted(1))
    assert "cut off" not in caplog.text
    assert actions(report) == {"create": 1, "done": 1}

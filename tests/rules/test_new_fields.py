"""A field that Protime adds one day arrives as a new column, and is not dropped in silence."""

from __future__ import annotations

import json
from datetime import date
from logging import LogRecord
from typing import Any

import pytest

from protime_source.demo import Behaviour
from tests.conftest import WorldFactory
from tests.engines import every_engine
from tests.world import Row, World

SECRET = "Vertraulich-4711"

CASES: dict[str, tuple[Any, str, str, Any]] = {
    "integer": (7, "integer", "BIGINT", 7),
    "text": (SECRET, "text", "VARCHAR", SECRET),
    "bool": (True, "bool", "BOOLEAN", True),
    "float": (1.5, "float", "DOUBLE", 1.5),
    "list": ([1, {"a": SECRET}], "list", "JSON", '[1,{"a":"Vertraulich-4711"}]'),
    "object": ({"centreCode": SECRET}, "object_centre_code", "VARCHAR", SECRET),
    "deep": ({"a": {"b": [1]}}, "deep_a", "JSON", '{"b":[1]}'),
    "huge": (2**70, "huge", "VARCHAR", str(2**70)),
}
"""By name of the field: what Protime sends, and the column, its type and value that come of it."""


by_delta_and_by_full_load = pytest.mark.parametrize(
    "is_full_load", [False, True], ids=["delta", "full load"]
)


def _types(world: World) -> dict[str, str]:
    rows = world.query(
        "SELECT column_name, data_type FROM duckdb_columns()"
        " WHERE schema_name = 'protime_data' AND table_name = 'assignments'"
    )
    return dict(rows)


def _write(world: World, count: int = 4, **fields: Any) -> list[int]:
    """Somebody edits some assignments after Protime has added some fields."""
    world.tenant.behaviour = Behaviour(extra_fields=fields)
    ids = sorted(world.tenant.records)[:count]
    for id_ in ids:
        record = world.tenant.records[id_]
        kept = {name: record[name] for name in ("person", "from")}
        world.tenant.update(id_, kept)
    return ids


def _column(world: World, name: str) -> dict[int, Any]:
    return {i: row[name] for i, row in world.rows().items() if row[name] is not None}


def _is_ours(record: LogRecord) -> bool:
    return record.name.startswith("protime_source")


@by_delta_and_by_full_load
def test_a_new_field_becomes_a_column(
    world: World, is_full_load: bool, caplog: pytest.LogCaptureFixture
) -> None:
    world.run()
    ids = _write(world, **{name: value for name, (value, *_) in CASES.items()})
    caplog.clear()
    world.run(full_resync=is_full_load)
    world.check()
    types, told = _types(world), [r.getMessage() for r in caplog.records if _is_ours(r)]
    for _, column, kind, wanted in CASES.values():
        assert types[column] == kind
        assert _column(world, column) == dict.fromkeys(ids, wanted)
        assert len([text for text in told if f"assignments.{column} " in text]) == 1
    assert SECRET not in caplog.text


def test_a_new_field_in_the_first_run(make_world: WorldFactory) -> None:
    """One that is named like one of our columns does not touch it."""
    fields = {"cost": 1, "tags": ["a"], "isDeleted": True, "syncedAt": "never"}
    world = make_world(rows=60, behaviour=Behaviour(extra_fields=fields))
    world.run()
    world.check()
    assert set(_column(world, "cost").values()) == {1}
    assert set(_column(world, "tags").values()) == {'["a"]'}
    assert _types(world)["tags"] == "JSON"
    assert set(_column(world, "protime_is_deleted").values()) == {True}
    world.tenant.churn(30)
    world.run()
    world.check()


def test_two_fields_of_one_name_have_columns_of_their_own(world: World) -> None:
    """Whichever comes first or alone, also to a machine that has seen neither."""
    world.run()
    dotted: Row = {"cost": {"centre": "dotted"}}
    camel: Row = {"costCentre": "camel"}
    for round_, fields in enumerate([camel, {**dotted, **camel}, dotted, {**camel, **dotted}]):
        ids = _write(world, **fields)
        world.lose_working_folder()
        world.run(full_resync=round_ > 1)
        world.check()
        for column, field, value in (
            ("cost_centre", "costCentre", "camel"),
            ("protime_cost_centre", "cost", "dotted"),
        ):
            if round_ or column == "cost_centre":
                wanted = dict.fromkeys(ids, value) if field in fields else {}
                assert _column(world, column) == wanted


@every_engine
def test_a_new_field_is_named_like_a_column_of_ours(make_world: WorldFactory) -> None:
    """One of a history, of its view, of dlt, or the one that holds what has no column."""
    fields = {"validFrom": 1, "recordedAt": 2, "_dlt_id": 3, "otherFields": [4]}
    world = make_world(rows=3, behaviour=Behaviour(extra_fields=fields))
    for _ in range(2):
        world.run(history=True)
        world.check()
    names = ("valid_from", "recorded_at", "dlt_id", "other_fields")
    for row in world.rows().values():
        assert [row[f"protime_{name}"] for name in names] == [1, 2, 3, "[4]"]


def test_a_known_new_field_stays_in_its_column(world: World) -> None:
    """Also when the working folder, which knows the column's type, is lost."""
    world.run()
    for round_, full_resync in enumerate((False, True)):
        ids = _write(world, cost=[round_])
        world.lose_working_folder()
        world.run(full_resync=full_resync)
        assert _column(world, "cost") == dict.fromkeys(ids, f"[{round_}]")
    world.check()


OTHERS: dict[str, tuple[Any, Any, str, Any]] = {
    "a": (1, "one", "a__v_text", "one"),
    "b": ("one", 1, "b__v_bigint", 1),
    "c": (1, 1.5, "c__v_double", 1.5),
    "d": (True, 2, "d__v_bigint", 2),
    "e": ([1], "one", "e__v_text", "one"),
    "f": ("one", [1], "f__v_json", "[1]"),
}
"""By name of the field: what came first, what then, and the column and its value."""

FITTING = {"g": (1.5, 2, 2.0), "h": (5, None, None)}
"""The same of values that stay in their column: an integer fits among floats, and nothing does."""


@by_delta_and_by_full_load
def test_a_value_of_another_type_goes_to_a_column_beside(world: World, is_full_load: bool) -> None:
    world.run()
    firsts: dict[str, tuple[Any, ...]] = {**OTHERS, **FITTING}
    _write(world, **{name: first for name, (first, *_) in firsts.items()})
    world.run()
    seconds: Row = {name: second for name, (_, second, *_) in firsts.items() if second is not None}
    ids = _write(world, 2, **seconds)
    world.run(full_resync=is_full_load)
    world.check()
    for name, (_, _, variant, wanted) in OTHERS.items():
        assert _column(world, variant) == dict.fromkeys(ids, wanted)
        assert not set(_column(world, name)) & set(ids)
        assert len(_column(world, name)) == 2
    for name, (first, _, value) in FITTING.items():
        shown = [row[name] for id_, row in sorted(world.rows().items())[:4]]
        assert shown == [value, value, first, first]
        assert not [each for each in _types(world) if each.startswith(f"{name}__v")]


def test_deleted_rows_keep_the_new_fields(world: World) -> None:
    world.run()
    announced, vanished = _write(world, 2, a=7, b=SECRET, c=True, d=1.5, e=[1, "a"])
    world.run()
    before = {name: _column(world, name) for name in "abcde"}
    world.tenant.delete(announced)
    world.run()
    world.tenant.delete(vanished)
    world.tenant.clock.advance(hours=73)
    world.run()
    world.check()
    assert {name: _column(world, name) for name in "abcde"} == before
    assert all(column.keys() == {announced, vanished} for column in before.values())
    reasons = [world.rows()[id_]["delete_reason"] for id_ in (announced, vanished)]
    assert reasons == ["announced", "vanished"]


HOSTILE = (
    "quote's",
    'double"quoted',
    "{braced}",
    "{0}}{{",
    "back\\slashed",
    "%s",
    "%(named)s %%",
    "semi; DROP TABLE assignments; --",
    "/* comment",
    "`tick`",
    "$1 :bound",
    "select",
    "\u0000nul",
    "\U0001f600",
    " ",
    "x" * 400,
)


@every_engine
def test_a_name_that_looks_like_sql_is_a_name(make_world: WorldFactory) -> None:
    """In a full load, which creates the table; in a delta, which adds columns; when read back."""
    loaded_fully = {name: f"{number} loaded_fully" for number, name in enumerate(HOSTILE)}
    followed = {f"{name} too": f"{number} followed" for number, name in enumerate(HOSTILE)}
    world = make_world(rows=3, behaviour=Behaviour(extra_fields=loaded_fully))
    world.run()
    for row in world.rows().values():
        assert set(loaded_fully.values()) <= set(row.values())
    world.tenant.behaviour = Behaviour(extra_fields={**loaded_fully, **followed})
    gone = world.tenant.create({"person": {"id": 7}, "from": date.today().isoformat()})
    world.run()
    row = world.rows()[gone]
    assert {*loaded_fully.values(), *followed.values()} <= set(row.values())
    world.tenant.delete(gone)
    world.run()
    after = world.rows()[gone]
    assert after["is_deleted"]
    texts = [
        name for name, value in row.items() if str(value).endswith(("loaded_fully", "followed"))
    ]
    assert {name: after[name] for name in texts} == {name: row[name] for name in texts}
    world.check()


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_thousands_of_new_fields_do_not_stop_a_load(make_world: WorldFactory) -> None:
    world = make_world(rows=20)
    world.run()
    [id_] = _write(world, 1, **{f"field{number}": number for number in range(1700)})
    world.run()
    row = world.rows()[id_]
    others = json.loads(row["other_fields"])
    columns = {name: value for name, value in row.items() if name.startswith("field")}
    assert len(columns) + len(others) == 1700
    assert {**columns, **others} == {f"field{number}": number for number in range(1700)}
    world.tenant.delete(id_)
    world.run()
    assert json.loads(world.rows()[id_]["other_fields"]) == others
    assert world.rows()[id_]["is_deleted"]

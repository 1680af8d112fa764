"""Rows become Arrow tables with the right types, also where the API changes its own."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from dlt.common.schema import Schema

from protime_source.catalogue import ASSIGNMENTS
from protime_source.decode.soft_delete import Row, live, soft_deleted
from protime_source.decode.tables import BatchBuilder, rechunk
from protime_source.decode.tolerant import RecordDecoder
from protime_source.decode.values import JsonText
from protime_source.demo import DemoTenant

NOW = datetime(2026, 3, 10, 12, 30, 0, 123456, UTC)
EARLIER = datetime(2026, 3, 9, tzinfo=UTC)
KEYS = {"id": 7, "changeVersion": "A"}
SCHEMA = {
    "id": "int64",
    "change_version": "string",
    "is_rejected": "bool",
    "person_id": "int64",
    "from_date": "date32[day]",
    "until_date": "date32[day]",
    "start_time_in_minutes": "int64",
    "end_time_in_minutes": "int64",
    "break_duration_in_minutes": "int64",
    "comments": "string",
    "activity_levels": "string",
    "is_deleted": "bool",
    "deleted_at": "timestamp[us, tz=UTC]",
    "delete_reason": "string",
    "synced_at": "timestamp[us, tz=UTC]",
}


DECODER = RecordDecoder(ASSIGNMENTS, Schema("any").naming.normalize_identifier)


def builder(**undocumented: str) -> BatchBuilder:
    return BatchBuilder(ASSIGNMENTS, undocumented)


def page(build: BatchBuilder, *records: Any) -> pa.Table:
    """The batch of a page, by the fast decoder if it can."""
    value = json.dumps([{**KEYS, **record} for record in records]).encode()
    if (columns := DECODER.fast.decode([b'{"value":%b}' % value])) is not None:
        return build.from_columns(columns, NOW)
    return build.from_rows([live(row, NOW) for row in DECODER.rows(msgspec.Raw(value))])


def types(table: pa.Table) -> dict[str, str]:
    return {field.name: str(field.type) for field in table.schema}


def beyond(table: pa.Table) -> dict[str, list[Any]]:
    """The undocumented columns, in their order."""
    return {name: table[name].to_pylist() for name in table.column_names if name not in SCHEMA}


@pytest.mark.parametrize("extra", [{}, {"colour": "red"}], ids=["fast", "field by field"])
def test_a_page_has_the_documented_columns_in_their_order(extra: Row) -> None:
    table = page(builder(), {"from": "2026-01-05", **extra})
    assert list(types(table).items())[: len(SCHEMA)] == list(SCHEMA.items())
    needed = [field.name for field in table.schema if not field.nullable]
    assert needed == ["id", "change_version", "is_deleted", "synced_at"]


@pytest.mark.parametrize("extra", [{}, {"colour": "red"}], ids=["fast", "field by field"])
def test_a_row_of_a_page_is_live(extra: Row) -> None:
    (row,) = page(builder(), {"from": "2026-01-05", "person": {"id": 9}, **extra}).to_pylist()
    assert {name: row[name] for name in SCHEMA if row[name] is not None} == {
        "id": 7,
        "change_version": "A",
        "person_id": 9,
        "from_date": date(2026, 1, 5),
        "is_deleted": False,
        "synced_at": NOW,
    }


def test_both_ways_give_the_same_table() -> None:
    records = list(DemoTenant(rows=300).records.values())
    fast = page(builder(), *records)
    slow = page(builder(), *[{**record, "extra": 1} for record in records])
    assert slow.drop_columns(["extra"]).equals(fast)


def test_an_empty_page_is_an_empty_table_of_the_same_schema() -> None:
    table = page(builder())
    assert (table.num_rows, types(table)) == (0, SCHEMA)
    assert types(builder().from_rows([])) == SCHEMA


@pytest.mark.parametrize(
    ("field", "value", "column", "kept"),
    [
        ("from", "soon", "from_date", None),
        ("from", "2026-02-30", "from_date", None),
        ("from", "2026-01-05T10:00:00", "from_date", date(2026, 1, 5)),
        ("startTimeInMinutes", 2**63, "start_time_in_minutes", None),
        ("startTimeInMinutes", 2**200, "start_time_in_minutes", None),
        ("startTimeInMinutes", 2**63 - 1, "start_time_in_minutes", 2**63 - 1),
        ("startTimeInMinutes", "480", "start_time_in_minutes", 480),
        ("isRejected", "no", "is_rejected", None),
        ("comments", 5, "comments", "5"),
    ],
)
def test_one_odd_value_spoils_neither_its_row_nor_the_page(
    field: str, value: Any, column: str, kept: Any
) -> None:
    table = page(builder(), {"comments": "a"}, {field: value, "until": "2026-01-06"})
    assert types(table) == SCHEMA
    assert table["comments"][0].as_py() == "a"
    assert table["until_date"].to_pylist() == [None, date(2026, 1, 6)]
    assert table[column][1].as_py() == kept


def test_a_new_field_is_empty_where_it_was_not_sent() -> None:
    build = builder()
    table = page(build, {}, {"colour": "red"}, {"colour": None})
    assert beyond(table) == {"colour": [None, "red", None]}
    assert build.undocumented == {"colour": "text"}


@pytest.mark.parametrize(
    ("value", "kind", "arrow"),
    [
        ("x", "text", "string"),
        (3, "bigint", "int64"),
        (1.5, "double", "double"),
        (True, "bool", "bool"),
        ([1], "json", "string"),
        (2**63, "text", "string"),
    ],
)
def test_a_new_column_has_the_type_of_its_first_value(value: Any, kind: str, arrow: str) -> None:
    build = builder()
    table = page(build, {"x": value})
    assert build.undocumented == {"x": kind}
    assert types(table)["x"] == arrow


VALUES: dict[str, Any] = {"text": "t", "bigint": 3, "double": 1.5, "bool": True, "json": [1]}
MIXED = [(a, b) for a in VALUES for b in VALUES if a != b and (a, b) != ("double", "bigint")]


@pytest.mark.parametrize(("known", "met"), MIXED)
@pytest.mark.parametrize("pages", [1, 2])
def test_a_value_of_another_type_goes_to_a_column_of_its_own(
    known: str, met: str, pages: int
) -> None:
    build = builder()
    records = [{"x": VALUES[known]}, {"x": VALUES[met]}]
    tables = [page(build, *records)] if pages == 1 else [page(build, each) for each in records]
    table = pa.concat_tables(tables, promote_options="default")
    as_shown = {**VALUES, "json": "[1]"}
    assert beyond(table) == {"x": [as_shown[known], None], f"x__v_{met}": [None, as_shown[met]]}
    assert build.undocumented == {"x": known, f"x__v_{met}": met}


def test_the_warehouse_knows_the_type_before_the_first_page() -> None:
    table = page(builder(x="text"), {"x": 3})
    assert beyond(table) == {"x__v_bigint": [3]}


@pytest.mark.parametrize("kind", ["decimal", "timestamp", "time", "date", "binary", "wei"])
def test_a_column_of_a_type_that_json_has_not_is_left_alone(kind: str) -> None:
    assert beyond(page(builder(x=kind), {"x": "t"})) == {"x__v_text": ["t"]}


def test_a_whole_number_fits_into_a_double() -> None:
    assert beyond(page(builder(), {"x": 1.5}, {"x": 3})) == {"x": [1.5, 3.0]}


def test_a_whole_number_that_a_double_would_round_stays_exact() -> None:
    table = page(builder(), {"x": 1.5}, {"x": 2**53 + 1})
    assert beyond(table) == {"x": [1.5, None], "x__v_bigint": [None, 2**53 + 1]}


def test_the_order_of_columns_does_not_depend_on_the_order_of_fields() -> None:
    forward, backward = ({"a": 1, "b": 2, "c": 3}, {"c": 3, "b": 2, "a": 1})
    one, other = page(builder(), forward), page(builder(), backward)
    assert one.column_names == other.column_names


def test_fields_that_collide_with_ours_do_not_touch_them() -> None:
    fields = {"isDeleted": True, "syncedAt": "x", "fromDate": "y", "deletedAt": "z"}
    table = page(builder(), fields)
    (row,) = table.to_pylist()
    assert (row["is_deleted"], row["synced_at"]) == (False, NOW)
    assert (row["from_date"], row["deleted_at"]) == (None, None)
    assert beyond(table) == {
        "protime_deleted_at": ["z"],
        "protime_from_date": ["y"],
        "protime_is_deleted": [True],
        "protime_synced_at": ["x"],
    }


def test_undocumented_fields_beyond_a_bound_share_one_json_column(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("protime_source.decode.tables.MAX_UNDOCUMENTED_COLUMNS", 2)
    build = builder()
    table = page(build, {"a": 1, "b": 2, "c": 3, "d": [1, "x"]}, {"b": 5, "e": None, "f": "y"})
    assert beyond(table) == {
        "a": [1, None],
        "b": [2, 5],
        "other_fields": ['{"c":3,"d":[1, "x"]}', '{"f":"y"}'],
    }
    first, second = (dict(row) for row in build.plain_rows(table))
    assert build.is_as_stored({**first, "c": 3, "d": JsonText('[1, "x"]')}, first)
    assert not build.is_as_stored({**second, "f": "z"}, second)
    deleted = build.from_rows([live({**first, "a2": 7}, NOW)])
    assert beyond(deleted)["other_fields"] == ['{"a2":7,"c":3,"d":[1, "x"]}']


def test_two_fields_of_one_name_beyond_the_bound_are_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("protime_source.decode.tables.MAX_UNDOCUMENTED_COLUMNS", 0)
    decoder = RecordDecoder(ASSIGNMENTS, Schema("any").naming.normalize_identifier)
    build = BatchBuilder(ASSIGNMENTS, {}, fields=decoder.fields)
    record = {**KEYS, "cost": {"centre": 1}, "costCentre": 2}
    rows = decoder.rows(msgspec.Raw(json.dumps([record]).encode()))
    table = build.from_rows([live(row, NOW) for row in rows])
    assert beyond(table) == {"other_fields": ['{"cost.centre":1,"costCentre":2}']}


def test_rows_keep_what_is_given_and_leave_the_rest_empty() -> None:
    row = {
        **KEYS,
        "change_version": "A",
        "is_deleted": True,
        "synced_at": NOW,
        "x": JsonText("[1]"),
    }
    del row["changeVersion"]
    build = builder()
    (shown,) = build.from_rows([row]).to_pylist()
    assert {name: value for name, value in shown.items() if value is not None} == row
    assert build.undocumented == {"x": "json"}


def test_a_live_row_has_the_sync_columns_of_a_live_row() -> None:
    gone = soft_deleted({"id": 7, "comments": "a"}, "vanished", EARLIER)
    assert live(gone, NOW) == {
        "id": 7,
        "comments": "a",
        "is_deleted": False,
        "deleted_at": None,
        "delete_reason": None,
        "synced_at": NOW,
    }


@pytest.mark.parametrize(("before", "after"), [(None, NOW), (EARLIER, EARLIER)])
@pytest.mark.parametrize("reason", ["announced", "vanished"])
def test_a_deleted_row_keeps_its_values_and_when_we_first_learnt_of_it(
    before: datetime | None, after: datetime, reason: str
) -> None:
    row = {"id": 7, "comments": "a", "synced_at": EARLIER, "deleted_at": before}
    assert soft_deleted(row, reason, NOW) == {
        "id": 7,
        "comments": "a",
        "is_deleted": True,
        "deleted_at": after,
        "delete_reason": reason,
        "synced_at": NOW,
    }


def test_rows_read_back_from_a_table_make_the_same_table() -> None:
    build = builder()
    levels = [{"level": 1}]
    row = {"id": 1, "change_version": "A", "from_date": "2026-01-31", "tags": JsonText("[1]")}
    table = build.from_rows([live({**row, "activity_levels": str(levels)}, NOW)])
    again = build.from_rows([live(row, NOW) for row in build.plain_rows(table)])
    assert again.equals(table)


def test_small_batches_are_rechunked_to_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows stay in their order; a rest comes at the end, and before other columns."""
    monkeypatch.setattr("protime_source.decode.tables.ROWS_PER_GROUP", 10)
    numbers = pa.table({"id": range(47)})
    parts = [numbers.slice(first, size) for first, size in ((0, 4), (4, 4), (8, 4), (12, 23))]
    other = pa.table({"id": range(47, 50), "colour": ["red"] * 3})
    tables = [*rechunk([*parts, None, numbers.slice(35), other])]
    sizes = [None if table is None else table.num_rows for table in tables]
    assert [size for size in sizes if size != 0] == [10, 20, None, 10, 7, 3]
    assert [id_ for table in tables if table for id_ in table["id"].to_pylist()] == [*range(50)]

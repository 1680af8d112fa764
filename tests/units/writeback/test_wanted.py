"""Wanted rows: what is read, and what is said of a value that Protime would refuse."""

from __future__ import annotations

import json
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from protime_source import ActivityLevel
from protime_source.catalogue import ASSIGNMENTS
from protime_source.writeback.content import FIELDS
from protime_source.writeback.wanted import READ_ONLY, Wanted, read_wanted

GUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
ROW = {"key": "a", "person_id": 17, "from_date": date(2026, 3, 10)}


def read(**values: Any) -> Wanted:
    found, _ = read_wanted([{**ROW, **values}, {**ROW, "key": "another"}])
    return found


def test_the_columns_are_those_of_the_table() -> None:
    table = {column.name for column in ASSIGNMENTS.columns}
    assert {*FIELDS, "id", "change_version", "is_rejected"} == table
    row = dict.fromkeys(table | {*READ_ONLY, "is_deleted"})
    [found] = read_wanted([{**row, **ROW}])
    assert found.problems == ()
    assert found.fields.keys() == {*FIELDS}


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("person_id", "17", 17),
        ("person_id", 17.0, 17),
        ("person_id", Decimal(17), 17),
        ("from_date", "2026-03-10", date(2026, 3, 10)),
        ("from_date", datetime(2026, 3, 10), date(2026, 3, 10)),
        ("until_date", "", None),
        ("start_time_in_minutes", "-60", -60),
        ("start_time_in_minutes", -1440, -1440),
        ("end_time_in_minutes", 2880, 2880),
        ("end_time_in_minutes", float("nan"), None),
        ("break_duration_in_minutes", 0, 0),
        ("comments", "", None),
        ("comments", " Zaal 3 ", " Zaal 3 "),
        ("activity_levels", None, ()),
        ("activity_levels", "[]", ()),
    ],
)
def test_a_value_is_read_as_its_column_holds_it(column: str, value: Any, expected: Any) -> None:
    found = read(**{column: value})
    assert found.problems == ()
    assert found.fields[column] == expected


@pytest.mark.parametrize(
    "levels",
    [
        [{"level": 1, "activityDefinition": {"id": GUID}}],
        json.dumps([{"level": 1, "activityDefinition": {"id": GUID, "name": "x"}}]),
        [{"level": "1", "activity_definition_id": GUID}],
        (ActivityLevel(level=1, activity_definition_id=GUID),),
    ],
)
def test_levels_come_as_in_the_table_or_by_their_names(levels: Any) -> None:
    wanted = (ActivityLevel(level=1, activity_definition_id=GUID),)
    assert read(activity_levels=levels).fields["activity_levels"] == wanted


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"key": None}, "key is missing"),
        ({"key": ""}, "key is missing"),
        ({"key": "  "}, "key is not printable text of up to 500 characters"),
        ({"key": "a\nb"}, "key is not printable text of up to 500 characters"),
        ({"key": True}, "key is not a whole number"),
        ({"id": 0}, "id is not an id: a whole number above 0"),
        ({"id": 2**63}, "id is not an id: a whole number above 0"),
        ({"person_id": None}, "person_id is empty"),
        ({"person_id": 1.5}, "person_id is not a whole number"),
        ({"person_id": True}, "person_id is not a whole number"),
        ({"from_date": ""}, "from_date is empty"),
        ({"from_date": "10/03/2026"}, "from_date is not a date: YYYY-MM-DD"),
        ({"from_date": "20260310"}, "from_date is not a date: YYYY-MM-DD"),
        ({"from_date": datetime(2026, 3, 10, 8)}, "from_date is not a date: YYYY-MM-DD"),
        ({"until_date": date(2026, 3, 9)}, "until_date is before from_date"),
        (
            {"start_time_in_minutes": -1441},
            "start_time_in_minutes is not within -1440 to 2880 minutes",
        ),
        ({"end_time_in_minutes": 2881}, "end_time_in_minutes is not within -1440 to 2880 minutes"),
        ({"end_time_in_minutes": "five"}, "end_time_in_minutes is not a whole number"),
        ({"end_time_in_minutes": "17:00"}, "minutes since midnight are meant: 1020"),
        ({"start_time_in_minutes": time(8)}, "is 08:00, but minutes since midnight are meant: 480"),
        ({"break_duration_in_minutes": "0:30"}, "is 0:30, but minutes are meant: 30"),
        ({"break_duration_in_minutes": -1}, "break_duration_in_minutes is not a number of minutes"),
        ({"comments": 5}, "comments is not text"),
        ({"is_deleted": "perhaps"}, "is_deleted is not true or false"),
        ({"activity_levels": "{"}, "activity_levels is not a list of levels"),
        ({"activity_levels": [{"level": 1}]}, "activity_levels is not a list of levels"),
        ({"activity_levels": [{"level": 1, "activity_definition_id": "x"}]}, "no GUID"),
        ({"activity_levels": [{"level": 1, "activity_definition_id": GUID}] * 2}, "a level twice"),
        ({"coments": "x"}, "unknown column coments (did you mean comments?)"),
    ],
)
def test_what_protime_would_refuse_is_said_before(values: dict[str, Any], problem: str) -> None:
    [said] = read(**values).problems
    assert problem in said


def test_all_that_is_wrong_with_a_row_is_said_at_once() -> None:
    assert len(read(id="x", comments=1, colour=2).problems) == 3


def test_a_deletion_needs_no_values() -> None:
    [found] = read_wanted([{"key": 7, "is_deleted": "true", "person_id": None}])
    assert (found.key, found.is_deleted, found.problems) == ("7", True, ())


def test_rows_with_one_key_or_one_id_are_all_invalid() -> None:
    rows = [{**ROW, "id": 1}, {**ROW, "id": 2}, {**ROW, "key": "b", "id": 2}, {**ROW, "key": "c"}]
    assert [found.problems for found in read_wanted(rows)] == [
        ("row 2 has the same key",),
        ("row 1 has the same key", "row 3 has the same id"),
        ("row 2 has the same id",),
        (),
    ]

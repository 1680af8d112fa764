"""What Protime sends arrives as it is, value by value; what an engine cannot hold stops nothing."""

from __future__ import annotations

import json
import logging
from datetime import date
from typing import Any

import pytest

from protime_source.demo import Fault
from tests.engines import Engine, every_engine, sql_engines
from tests.world import Row, World

TODAY = date.today().isoformat()
LEVEL = {"level": 1, "activityDefinition": {"id": "550e8400-e29b-41d4-a716-446655440000"}}
TEXTS = [
    "",
    " ",
    "  blanks at both ends  ",
    "lines\nof\r\ntext\r",
    "tab\there",
    "\"double\" 'single' `back` «guillemets»",
    "\\N",
    "\\",
    "\\.",
    "a\\nb \\u0000 \\ud83d",
    "NULL",
    "null",
    "None",
    "{}{{0}} %s %% $1 :name ; -- /* DROP TABLE assignments */",
    "'); DELETE FROM protime_data.assignments; --",
    "😀👩‍👩‍👧 e\u0301 é",
    "\u202eright to left\u202c \u200f\u200e שלום",
    "\ufeffbyte order mark, \u2028 line separator, \x7f \x01 control",
    "comma, semicolon; pipe|",
    "x" * 100_000,
]
BIGINTS = (-1440, 0, 2880, 2**63 - 1, -(2**63))
DATES = ("0001-01-01", "1582-10-15", "1970-01-01", "9999-12-31")


def _put(world: World, id_: int, **fields: Any) -> None:
    """A record exactly as given, past the checks that the API makes on writing."""
    record = {"id": id_, "changeVersion": f"{id_:020X}", "person": {"id": 7}, "from": TODAY}
    store = world.tenant._store
    store.records[id_] = {**record, **fields}
    store._ids[:] = sorted(store.records)
    store._texts.pop(id_, None)


@every_engine
def test_texts_numbers_dates_and_levels_survive(world: World) -> None:
    """In a full load, in a delta, and when a deletion reads them back."""
    world.tenant._store.records.clear()
    records: list[dict[str, Any]] = [{"comments": text} for text in TEXTS]
    records += [
        {"startTimeInMinutes": n, "endTimeInMinutes": n, "breakDurationInMinutes": n}
        for n in BIGINTS
    ]
    records += [{"until": day} for day in DATES]
    records += [{"activityLevels": levels} for levels in ([], [LEVEL], [LEVEL] * 50)]
    records += [{}, {"activityLevels": None}, {"isRejected": False}, {"isRejected": True}]
    for id_, fields in enumerate(records, start=2**31 - 2):
        _put(world, id_, **fields)
    _put(world, 2**63 - 1, person={"id": 2**62}, changeVersion="0")
    world.run()
    _check_values(world, len(records) + 1)
    for id_, record in list(world.tenant.records.items()):
        world.tenant.write("assignments", id_, {**record, "until": TODAY})
        world.tenant._store.insert(record)
    world.run()
    _check_values(world, 2 * (len(records) + 1))
    before = world.rows()
    for id_ in before:
        world.tenant.delete(id_)
    world.run()
    assert {row["delete_reason"] for row in world.rows().values()} == {"announced"}
    assert _unmarked(world.rows()) == _unmarked(before)


SYNC_COLUMNS = ("change_version", "is_deleted", "deleted_at", "delete_reason", "synced_at")


def _unmarked(rows: dict[int, Row]) -> dict[int, Row]:
    return {
        id_: {name: value for name, value in row.items() if name not in SYNC_COLUMNS}
        for id_, row in rows.items()
    }


def _check_values(world: World, count: int) -> None:
    """As Protime has them; an empty list is a list, and an absent one null."""
    world.check()
    assert len(world.rows()) == count
    none = {id_ for id_, row in world.rows().items() if row["activity_levels"] is None}
    assert none == {
        id_ for id_, record in world.tenant.records.items() if not isinstance(_levels(record), list)
    }


def _levels(record: dict[str, Any]) -> object:
    return record.get("activityLevels")


VERSIONS = ("'", '"', "{", "{0}}", "\\", "%s", "';--", "𝄞", "~" * 300)


@sql_engines
def test_a_version_that_looks_like_sql_is_a_value(world: World) -> None:
    world.tenant._store.records.clear()
    for id_, version in enumerate(VERSIONS, start=1):
        _put(world, id_, changeVersion=version, comments="first")
    world.run()
    for id_, version in enumerate(VERSIONS, start=1):
        _put(world, id_, changeVersion=version + "!", comments="second")
    world.run(full_resync=True)
    assert {id_: (row["change_version"], row["comments"]) for id_, row in world.rows().items()} == {
        id_: (version + "!", "second") for id_, version in enumerate(VERSIONS, start=1)
    }


@sql_engines
def test_what_cannot_be_held_stops_nothing(
    world: World, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    world.tenant._store.records.clear()
    level = {"level": 1, "activityDefinition": {"id": "a\x00b"}}
    _put(world, 1, comments="secret\x00nul", activityLevels=[level])
    _put(world, 2, comments="secret")
    _put(world, 3, until="0000-01-01")
    _put(world, 6, until="10000-01-01")
    _put(world, 4, person={"id": 2**63}, startTimeInMinutes=10**30)
    _put(world, 2**63 + 5, comments="huge", changeVersion="A")
    half = json.dumps(world.tenant.records[2]).replace("secret", "secret\\ud83d")
    world.tenant._store._texts[2] = half.encode()
    with caplog.at_level(logging.WARNING, logger="protime_source"):
        world.run()
    rows = world.rows()
    nul = "\ufffd" if engine.name == "postgres" else "\x00"
    assert rows[1]["comments"] == f"secret{nul}nul"
    assert rows[2]["comments"] == "secret\ufffd"
    assert (rows[3]["until_date"], rows[6]["until_date"]) == (None, None)
    assert (rows[4]["person_id"], rows[4]["start_time_in_minutes"]) == (None, None)
    assert set(rows) == {1, 2, 3, 4, 6}
    assert len(_all_levels(world)) == 1
    warned = [r.getMessage() for r in caplog.records if r.name.startswith("protime_source")]
    for place in (
        "assignments.comments of id 2 ",
        "assignments.until_date of id 6 ",
        "assignments.until_date of id 3 ",
        "assignments.person_id of id 4 ",
        "assignments.start_time_in_minutes of id 4 ",
        "assignments: a record was left out",
    ):
        assert [text for text in warned if text.startswith(place)], place
    assert any("comments of id 1 " in text for text in warned) == (engine.name == "postgres")
    assert "secret" not in caplog.text


@every_engine
def test_what_cannot_be_held_stops_no_delta(
    world: World, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """Created, then updated and deleted by the same answer, under ids that are held or are not."""
    world.tenant._store.records.clear()
    for id_ in range(1, 5):
        _put(world, id_, comments="fine", changeVersion="0", activityLevels=[LEVEL])
    world.run()
    huge, half = 2**63 + 5, {**LEVEL, "note": "secret\ud83d"}
    news: dict[int, dict[str, Any]] = {
        1: {"comments": "secret\x00nul", "activityLevels": [{**LEVEL, "note": "secret\x00"}]},
        2: {"comments": "secret\ud83d", "activityLevels": [half]},
        3: {"from": "0000-01-01", "until": "0000-01-01"},
        4: {"person": {"id": 2**63}, "breakDurationInMinutes": 2**70},
        huge: {"comments": "huge"},
    }
    with caplog.at_level(logging.WARNING, logger="protime_source"):
        _tell(world, [("InsertOrUpdate", {**_record(id_), **news[id_]}) for id_ in news])
        world.run()
    rows = world.rows()
    nul = "\ufffd" if engine.name == "postgres" else "\x00"
    assert set(rows) == {1, 2, 3, 4}
    assert [rows[id_]["comments"] for id_ in (1, 2)] == [f"secret{nul}nul", "secret\ufffd"]
    notes = [json.loads(rows[id_]["activity_levels"])[0]["note"] for id_ in (1, 2)]
    assert notes == [f"secret{nul}", "secret\ufffd"]
    assert (rows[3]["from_date"], rows[3]["until_date"]) == (None, None)
    assert (rows[4]["person_id"], rows[4]["break_duration_in_minutes"]) == (None, None)
    places = [
        "comments of id 2",
        "activity_levels of id 2",
        "from_date of id 3",
        "until_date of id 3",
    ]
    places += ["person_id of id 4", "break_duration_in_minutes of id 4"]
    if engine.name == "postgres":
        places += ["comments of id 1", "activity_levels of id 1"]
    warned = [r.getMessage() for r in caplog.records if r.name.startswith("protime_source")]
    assert sorted(" ".join(text.split()[:4]) for text in warned) == sorted(
        ["assignments: a record was", *(f"assignments.{place}" for place in places)]
    )
    assert "secret" not in caplog.text
    changed = ("InsertOrUpdate", {**_record(huge, "B"), "comments": "changed"})
    gone = [("Delete", {"id": id_, "changeVersion": "C"}) for id_ in news]
    _tell(world, [changed, *gone])
    world.run()
    after = world.rows()
    assert all(row["is_deleted"] for row in after.values())
    assert _unmarked(after) == _unmarked(rows)


def _record(id_: int, version: str = "A") -> dict[str, Any]:
    return {"id": id_, "changeVersion": version, "person": {"id": 7}, "from": TODAY}


def _tell(world: World, events: list[tuple[str, dict[str, Any]]]) -> None:
    """The next delta has just these events, each as it is."""
    value = [{"changeType": kind, "data": data} for kind, data in events]
    body = json.dumps({"value": value, "deltaLink": world.bookmark().link})
    world.tenant.faults.append(Fault("status", status=200, body=body, where="deltaToken"))


def _all_levels(world: World) -> list[tuple[Any, ...]]:
    return world.query(f"SELECT * FROM {world.dataset}.assignments__activity_levels")

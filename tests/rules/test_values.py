"""What Protime sends arrives as it is, value by value; what an engine cannot hold stops nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import date
from typing import Any

import pytest

from protime_source.demo import Fault
from tests.engines import Engine, every_engine
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
"""Each looks like SQL, or is long."""


@every_engine
def test_what_cannot_be_held_stops_neither_a_full_load_nor_a_delta(
    world: World, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """A version is held whatever it looks like."""
    nul = "\ufffd" if engine.name == "postgres" else "\x00"
    caplog.set_level(logging.WARNING, logger="protime_source")
    world.tenant._store.records.clear()
    for id_ in range(1, 5):
        _put(world, id_, comments="fine", changeVersion="0", activityLevels=[LEVEL])
    versions = dict(enumerate(VERSIONS, start=11))
    for id_, version in versions.items():
        _put(world, id_, changeVersion=version, comments="first")
    _full_load(world, nul, caplog)
    assert _versions(world, versions) == {
        id_: (version, "first") for id_, version in versions.items()
    }
    newer = {id_: f"{version}!" for id_, version in versions.items()}
    _delta(world, nul, caplog, newer)
    assert _versions(world, versions) == {id_: (newer[id_], "second") for id_ in versions}


def _versions(world: World, ids: Iterable[int]) -> dict[int, tuple[str, str]]:
    rows = world.rows()
    return {id_: (rows[id_]["change_version"], rows[id_]["comments"]) for id_ in ids}


def _warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert "secret" not in caplog.text
    return [r.getMessage() for r in caplog.records if r.name.startswith("protime_source")]


def _full_load(world: World, nul: str, caplog: pytest.LogCaptureFixture) -> None:
    before = world.tenant.records.keys() & {*range(100)}
    _put(world, 21, comments="secret\x00nul", activityLevels=[{**LEVEL, **_named("a\x00b")}])
    _put(world, 22, comments="secret")
    _put(world, 23, until="0000-01-01")
    _put(world, 26, until="10000-01-01")
    _put(world, 24, person={"id": 2**63}, startTimeInMinutes=10**30)
    _put(world, 2**63 + 5, comments="huge", changeVersion="A")
    half = json.dumps(world.tenant.records[22]).replace("secret", "secret\\ud83d")
    world.tenant._store._texts[22] = half.encode()
    world.run()
    rows = world.rows()
    assert rows[21]["comments"] == f"secret{nul}nul"
    assert rows[22]["comments"] == "secret\ufffd"
    assert (rows[23]["until_date"], rows[26]["until_date"]) == (None, None)
    assert (rows[24]["person_id"], rows[24]["start_time_in_minutes"]) == (None, None)
    assert rows.keys() == before | {21, 22, 23, 24, 26}
    assert len(_all_levels(world)) == 5
    warned = _warned(caplog)
    for place in (
        "assignments.comments of id 22 ",
        "assignments.until_date of id 26 ",
        "assignments.until_date of id 23 ",
        "assignments.person_id of id 24 ",
        "assignments.start_time_in_minutes of id 24 ",
        "assignments: a record was left out",
    ):
        assert [text for text in warned if text.startswith(place)], place
    is_postgres = nul == "\ufffd"
    assert any("comments of id 21 " in text for text in warned) == is_postgres


def _named(guid: str) -> dict[str, Any]:
    return {"activityDefinition": {"id": guid}}


def _delta(world: World, nul: str, caplog: pytest.LogCaptureFixture, newer: dict[int, str]) -> None:
    """Created, then updated and deleted by the same answer, under ids that are held or are not."""
    caplog.clear()
    held = world.rows().keys()
    huge, half = 2**63 + 6, {**LEVEL, "note": "secret\ud83d"}
    news: dict[int, dict[str, Any]] = {
        1: {"comments": "secret\x00nul", "activityLevels": [{**LEVEL, "note": "secret\x00"}]},
        2: {"comments": "secret\ud83d", "activityLevels": [half]},
        3: {"from": "0000-01-01", "until": "0000-01-01"},
        4: {"person": {"id": 2**63}, "breakDurationInMinutes": 2**70},
        huge: {"comments": "huge"},
    }
    events = [("InsertOrUpdate", {**_record(id_), **news[id_]}) for id_ in news]
    events += [
        ("InsertOrUpdate", {**_record(id_, version), "comments": "second"})
        for id_, version in newer.items()
    ]
    _tell(world, events)
    world.run()
    rows = world.rows()
    assert rows.keys() == held
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
    if nul == "\ufffd":
        places += ["comments of id 1", "activity_levels of id 1"]
    assert sorted(" ".join(text.split()[:4]) for text in _warned(caplog)) == sorted(
        ["assignments: a record was", *(f"assignments.{place}" for place in places)]
    )
    changed = ("InsertOrUpdate", {**_record(huge, "B"), "comments": "changed"})
    gone = [("Delete", {"id": id_, "changeVersion": "C"}) for id_ in news]
    _tell(world, [changed, *gone])
    world.run()
    after = world.rows()
    assert {id_ for id_, row in after.items() if row["is_deleted"]} == {1, 2, 3, 4}
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

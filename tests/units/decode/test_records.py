"""Records are decoded whole, whatever the API adds or changes."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest
from dlt.common.schema import Schema

from protime_source import ProtocolError
from protime_source.catalogue import ASSIGNMENTS, COLLECTIONS
from protime_source.decode.soft_delete import Row, live
from protime_source.decode.tables import BatchBuilder
from protime_source.decode.tolerant import RecordDecoder
from protime_source.decode.values import JsonText
from protime_source.demo import DemoTenant
from protime_source.settings import Settings

KEYS = {"id": 7, "changeVersion": "0000090200004BD0000A"}
LEVELS = [{"level": 1, "activityDefinition": {"id": "0b9e", "name": "Ä"}}]
FULL = {
    **KEYS,
    "isRejected": False,
    "person": {"id": 9},
    "from": "2026-01-05",
    "until": "2026-01-06",
    "startTimeInMinutes": -60,
    "endTimeInMinutes": 2880,
    "breakDurationInMinutes": 0,
    "comments": 'Zaal "3"\n🙏🏽',
    "activityLevels": LEVELS,
}
ROW = {
    "id": 7,
    "change_version": "0000090200004BD0000A",
    "is_rejected": False,
    "person_id": 9,
    "from_date": "2026-01-05",
    "until_date": "2026-01-06",
    "start_time_in_minutes": -60,
    "end_time_in_minutes": 2880,
    "break_duration_in_minutes": 0,
    "comments": 'Zaal "3"\n🙏🏽',
    "activity_levels": json.dumps(LEVELS, ensure_ascii=False),
}
OPTIONAL = [name for name in FULL if name not in KEYS]
TWO_53 = 2**53


@pytest.fixture
def decoder() -> RecordDecoder:
    """A decoder with dlt's own naming."""
    return RecordDecoder(ASSIGNMENTS, Schema("any").naming.normalize_identifier)


def raw(value: Any) -> msgspec.Raw:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return msgspec.Raw(text.encode())


def row_of(decoder: RecordDecoder, record: dict[str, Any]) -> Row:
    (row,) = decoder.rows(raw([record]))
    return {name: value for name, value in row.items() if value is not None}


def columns_of(decoder: RecordDecoder, value: Any) -> dict[str, list[Any]] | None:
    """The columns with dates as text, as `rows` has them."""
    if (table := decoder.fast.decode([b'{"value":%b}' % bytes(raw(value))])) is None:
        return None
    return {
        name: [value.isoformat() if isinstance(value, date) else value for value in values]
        for name, values in table.to_pydict().items()
    }


def fast(decoder: RecordDecoder, record: dict[str, Any]) -> Row:
    columns = columns_of(decoder, [record])
    assert columns is not None
    return {name: value for name, (value,) in columns.items() if value is not None}


def row_with(decoder: RecordDecoder, **fields: Any) -> Row:
    """What a record has in its row beyond its keys."""
    row = row_of(decoder, {**KEYS, **fields})
    return {name: value for name, value in row.items() if name not in ("id", "change_version")}


@pytest.mark.parametrize("decode", [fast, row_of])
def test_every_documented_field_has_its_column(decoder: RecordDecoder, decode: Any) -> None:
    assert decode(decoder, FULL) == ROW
    assert set(ROW) == {column.name for column in ASSIGNMENTS.columns}


@pytest.mark.parametrize("decode", [fast, row_of])
@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("is_null", [True, False], ids=["null", "absent"])
def test_an_optional_field_may_be_null_or_absent(
    decoder: RecordDecoder, decode: Any, name: str, is_null: bool
) -> None:
    record: dict[str, Any] = {key: value for key, value in FULL.items() if key != name}
    if is_null:
        record[name] = None
    column = next(c.name for c in ASSIGNMENTS.columns if c.path.partition(".")[0] == name)
    assert decode(decoder, record) == {key: ROW[key] for key in ROW if key != column}


@pytest.mark.parametrize(
    ("decode", "person"), [(fast, {"id": None}), (row_of, {"id": None}), (row_of, {})]
)
def test_a_person_may_be_without_id(
    decoder: RecordDecoder, decode: Any, person: dict[str, Any]
) -> None:
    assert "person_id" not in decode(decoder, {**FULL, "person": person})


def test_both_ways_of_decoding_agree_on_real_records(decoder: RecordDecoder) -> None:
    records = list(DemoTenant(rows=500).records.values())
    columns = columns_of(decoder, records)
    assert columns is not None
    assert len(columns["id"]) == 500
    for index, row in enumerate(decoder.rows(raw(records))):
        assert row == {
            name: values[index] for name, values in columns.items() if values[index] is not None
        }


def test_an_empty_page_is_empty_columns(decoder: RecordDecoder) -> None:
    columns = columns_of(decoder, "[]")
    assert columns is not None
    assert set(map(len, columns.values())) == {0}


@pytest.mark.parametrize("nothing", ["[]", "null"])
def test_an_empty_page_is_no_rows(decoder: RecordDecoder, nothing: str) -> None:
    assert decoder.rows(raw(nothing)) == []
    assert decoder.events(raw(nothing)) == []


@pytest.mark.parametrize(
    ("fields", "columns"),
    [
        ({"costCenter": "A1"}, {"cost_center": "A1"}),
        ({"weight": 1.5, "count": 3}, {"weight": 1.5, "count": 3}),
        ({"isOpen": False}, {"is_open": False}),
        ({"tags": ["a", {"b": 1}]}, {"tags": '["a", {"b": 1}]'}),
        ({"tags": []}, {"tags": "[]"}),
        ({"place": {"id": 4, "city": {"zip": 1}}}, {"place_id": 4, "place_city": '{"zip": 1}'}),
        ({"person": {"id": 9, "name": "An"}}, {"person_id": 9, "person_name": "An"}),
        (
            {"person": {"id": 9, "externalReferences": {"@badge-number": "6"}}},
            {"person_id": 9, "person_external_references": '{"@badge-number": "6"}'},
        ),
        ({"person": 5}, {"person": 5}),
        ({"isDeleted": True}, {"protime_is_deleted": True}),
        ({"syncedAt": "now"}, {"protime_synced_at": "now"}),
        ({"deletedAt": "now"}, {"protime_deleted_at": "now"}),
        ({"deleteReason": "none"}, {"protime_delete_reason": "none"}),
        ({"fromDate": "x"}, {"protime_from_date": "x"}),
        ({"person_id": 1, "person": {"id": 9}}, {"protime_person_id": 1, "person_id": 9}),
        ({"newField": 1, "new_field": 2}, {"new_field": 1, "protime_new_field": 2}),
        ({"new_field": 2, "newField": 1}, {"new_field": 1, "protime_new_field": 2}),
        ({"": 1}, {"unnamed": 1}),
        ({"@odata.etag": "x"}, {"aodata_etag": "x"}),
        ({"empty": None, "none": {}}, {}),
        ({"big": 2**64}, {"big": "18446744073709551616"}),
        ({"edge": 2**63 - 1}, {"edge": 2**63 - 1}),
    ],
)  # fmt: skip
def test_an_undocumented_field_gets_a_column(
    decoder: RecordDecoder, fields: dict[str, Any], columns: Row
) -> None:
    assert columns_of(decoder, [{**KEYS, **fields}]) is None
    assert row_with(decoder, **fields) == columns


def test_an_undocumented_field_keeps_its_column(decoder: RecordDecoder) -> None:
    """A field without a value has none yet."""
    assert row_with(decoder, costCentre=None, **{"cost.centre": 5}) == {"cost_centre": 5}
    assert row_with(decoder, costCentre=6) == {"protime_cost_centre": 6}
    later = RecordDecoder(ASSIGNMENTS, str, fields=decoder.fields)
    assert row_with(later, costCentre=7) == {"protime_cost_centre": 7}


def test_an_undocumented_field_does_not_get_the_column_of_an_excluded_one() -> None:
    clockings = Settings.from_config(complete=False).collection("clockings")
    decoder = RecordDecoder(clockings, Schema("any").naming.normalize_identifier)
    row = row_with(decoder, geolocationLatitude=5)
    assert row == {"protime_geolocation_latitude": 5}


@pytest.mark.parametrize(("text", "kind"), [("[1]", JsonText), ('"[1]"', str), ("1", int)])
def test_json_and_text_are_told_apart(decoder: RecordDecoder, text: str, kind: type) -> None:
    (row,) = decoder.rows(raw(f'[{{"id":1,"changeVersion":"A","x":{text}}}]'))
    assert type(row["x"]) is kind


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 5000], ids=len)
def test_a_number_that_nothing_holds_is_kept_as_text(decoder: RecordDecoder, number: str) -> None:
    (row,) = decoder.rows(raw(f'[{{"id":1,"changeVersion":"A","x":{number}}}]'))
    assert row["x"] == number


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("startTimeInMinutes", "480", 480),
        ("startTimeInMinutes", 480.0, 480),
        ("startTimeInMinutes", TWO_53 + 1, TWO_53 + 1),
        ("startTimeInMinutes", str(TWO_53 + 1), TWO_53 + 1),
        ("startTimeInMinutes", -(2**63), -(2**63)),
        ("startTimeInMinutes", 2**63, None),
        ("startTimeInMinutes", 480.5, None),
        ("startTimeInMinutes", 1e300, None),
        ("startTimeInMinutes", "08:00", None),
        ("startTimeInMinutes", True, None),
        ("startTimeInMinutes", [480], None),
        ("startTimeInMinutes", {"hours": 8}, None),
        ("isRejected", "true", None),
        ("isRejected", 1, None),
        ("comments", 5, "5"),
        ("comments", True, "true"),
        ("comments", {"text": "x"}, '{"text": "x"}'),
        ("comments", ["x"], '["x"]'),
        ("from", "2026-01-05T23:30:00Z", "2026-01-05"),
        ("from", "5 January", None),
        ("from", "2026-02-30", None),
        ("from", "", None),
        ("from", 20260105, None),
        ("from", {"year": 2026}, None),
        ("activityLevels", {"level": 1}, '{"level": 1}'),
        ("activityLevels", "one", '"one"'),
        ("activityLevels", [], "[]"),
    ],
)
def test_a_value_of_another_type_is_kept_if_it_fits(
    decoder: RecordDecoder, caplog: pytest.LogCaptureFixture, field: str, value: Any, kept: Any
) -> None:
    column = next(column for column in ASSIGNMENTS.columns if column.path == field)
    assert row_with(decoder, **{field: value}).get(column.name) == kept
    id_, kind = KEYS["id"], column.type
    message = (
        f"assignments.{column.name} of id {id_} has a value that is no {kind}: loaded as empty"
    )
    # An empty date is no mistake: "empty = open-ended" (reference/collections/people).
    assert caplog.messages == ([] if kept is not None or value == "" else [message])


def test_a_documented_object_is_the_same_both_ways(decoder: RecordDecoder) -> None:
    record = {**KEYS, "activityLevels": {"level": 1}}
    assert fast(decoder, record) == row_of(decoder, record)


def test_a_field_is_warned_of_once_each_record_is_named_and_values_never(
    decoder: RecordDecoder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for number in range(3):
        secret = f"private-{number}"
        decoder.rows(raw([{**KEYS, "ssn": secret, "from": secret}] * 2))
        decoder.events(raw([{"changeType": "InsertOrUpdate", "data": {**KEYS, "ssn": secret}}]))
    assert caplog.messages == [
        f"assignments.from_date of id {KEYS['id']} has a value that is no date: loaded as empty",
        "assignments.ssn is a field that Protime's documentation does not have: loaded as it came",
        *[f"assignments.from_date of id {KEYS['id']} has a value that is no date: loaded as empty"]
        * 5,
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


@pytest.mark.parametrize(
    "record",
    [
        {"changeVersion": "A"},
        {"id": 1},
        {"id": None, "changeVersion": "A"},
        {"id": 1, "changeVersion": None},
        {"id": "one", "changeVersion": "A"},
        {"id": True, "changeVersion": "A"},
        {"id": 1.5, "changeVersion": "A"},
        {"id": {"value": 1}, "changeVersion": "A"},
        5,
        None,
        [],
    ],
)
def test_a_record_without_its_keys_is_refused(decoder: RecordDecoder, record: Any) -> None:
    assert columns_of(decoder, [record]) is None
    with pytest.raises(ProtocolError):
        decoder.rows(raw([record]))
    with pytest.raises(ProtocolError):
        decoder.events(raw([{"changeType": "InsertOrUpdate", "data": record}]))


@pytest.mark.parametrize(
    "page", ["{}", '"text"', "5", "[[]]", '[{"id":1,"changeVersion":"\\ud83d"}]']
)
def test_what_is_no_page_of_records_is_refused(decoder: RecordDecoder, page: str) -> None:
    with pytest.raises(ProtocolError):
        _ = columns_of(decoder, page) or decoder.rows(raw(page))


@pytest.mark.parametrize(
    "event", [{}, {"data": KEYS}, {"changeType": "Delete"}, {"changeType": None, "data": KEYS}, 5]
)
def test_what_is_no_event_is_refused(decoder: RecordDecoder, event: Any) -> None:
    with pytest.raises(ProtocolError, match="event"):
        decoder.events(raw([event]))


@pytest.mark.parametrize("kind", ["InsertOrUpdate", "Delete", "Restore"])
def test_an_event_is_its_kind_and_its_row(decoder: RecordDecoder, kind: str) -> None:
    extra = {"sentAt": "now"}
    assert decoder.events(raw([{"changeType": kind, "data": FULL, **extra}])) == [(kind, ROW)]


def test_a_deletion_has_just_what_it_carries(decoder: RecordDecoder) -> None:
    (event,) = decoder.events(raw([{"changeType": "Delete", "data": {**KEYS, "comments": None}}]))
    assert {name for name, value in event[1].items() if value is not None} == {
        "id",
        "change_version",
    }


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 400, "9" * 5000, '"nan"', '"-inf"'])
def test_a_number_that_nothing_holds_is_no_double(
    number: str, caplog: pytest.LogCaptureFixture
) -> None:
    contracts = RecordDecoder(COLLECTIONS["contracts"], str)
    record = f'{{"id":1,"changeVersion":"A","contractPercentage":{number}}}'
    (row,) = contracts.rows(raw(f"[{record}]"))
    assert row["contract_percentage"] is None
    assert "contract_percentage of id 1 has a value that is no double" in caplog.text
    assert contracts.fast.decode([f'{{"value":[{record}]}}'.encode()]) is None
    builder = BatchBuilder(COLLECTIONS["contracts"], {})
    batch = builder.from_rows([live(row, datetime.now(UTC))])
    assert batch["contract_percentage"].to_pylist() == [None]


def test_an_external_reference_may_begin_with_a_digit() -> None:
    settings = Settings.from_config(
        tenant="t",
        client_id="c",
        client_secret="s",
        external_references={"assignments": "(people,1st-name)"},
    )
    decoder = RecordDecoder(settings.collection("assignments"), str)
    person = {"id": 5, "externalReferences": {"1st-name": "x"}}
    assert columns_of(decoder, [{**KEYS, "person": person}]) is not None


def test_json_that_is_nested_too_deeply_is_refused(decoder: RecordDecoder) -> None:
    deep = "[" * 1_000_000 + "]" * 1_000_000  # Python 3.14 takes 100,000
    with pytest.raises(ProtocolError, match="nested too deeply"):
        decoder.rows(raw(f'[{{"id":1,"changeVersion":"A","x":{deep}}}]'))


@pytest.mark.parametrize("escape", ["\\u0000", "\\uFFFF"])
def test_an_answer_with_what_an_engine_may_not_hold_is_read_field_by_field(
    decoder: RecordDecoder, escape: str
) -> None:
    record = f'[{{"id":1,"changeVersion":"A","comments":"{escape}"}}]'
    assert columns_of(decoder, record) is None
    assert columns_of(decoder, record.replace(escape, "\\u0041")) is not None


TOO_LARGE = ["9223372036854775808", "-9223372036854775809", "9" * 5000, '"9223372036854775808"']


@pytest.mark.parametrize("id_", TOO_LARGE, ids=len)
def test_a_record_whose_id_does_not_fit_is_left_out_and_counted(
    decoder: RecordDecoder, caplog: pytest.LogCaptureFixture, id_: str
) -> None:
    """The warning names the table, and neither the id nor another value."""
    record = f'{{"id":{id_},"changeVersion":"A","comments":"private"}}'
    fine = json.dumps(FULL, ensure_ascii=False)
    assert columns_of(decoder, f"[{record}]") is None
    assert decoder.rows(raw(f"[{record},{fine}]")) == [ROW]
    event = '{{"changeType":"Delete","data":{}}}'.format
    assert decoder.events(raw(f"[{event(record)},{event(fine)}]")) == [("Delete", ROW)]
    assert decoder.refused_records == 2
    assert len(caplog.messages) == 2
    assert all(text.startswith("assignments: a record was left out") for text in caplog.messages)
    assert not {id_.strip('"'), "private"} & set(re.findall(r"-?\w+", caplog.text))


@pytest.mark.parametrize(
    ("text", "is_refused"),
    [
        (r"\ud83d\ude00", False),
        (r"\ud83d", True),
        (r"\ude00", True),
        (r"\ud83d\ud83d\ude00", True),
        (r"\ud83d\ude00\ude00", True),
        (r"\\ud83d\ude00", True),
        (r"\ud83d\\ude00", True),
        (r"\\n", False),
    ],
)
def test_the_fast_decoder_refuses_lone_surrogates_within_json_columns(
    decoder: RecordDecoder, text: str, is_refused: bool
) -> None:
    record = f'[{{"id":1,"changeVersion":"A","activityLevels":["{text}"]}}]'
    assert (columns_of(decoder, record) is None) == is_refused

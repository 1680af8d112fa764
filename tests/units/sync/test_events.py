"""`changeVersion` decides, whatever order events come in and however often."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protime_source.decode.soft_delete import Row, live, soft_deleted
from protime_source.errors import UnknownChangeError
from protime_source.sync.events import Changes, EventReducer

NOW = datetime(2026, 3, 10, tzinfo=UTC)
BEFORE = datetime(2026, 3, 1, tzinfo=UTC)
UPDATE, DELETE = "InsertOrUpdate", "Delete"
Event = tuple[str, Row]


def update(version: str, id_: int = 1, **fields: Any) -> Event:
    return UPDATE, {"id": id_, "change_version": version, "comments": f"of {version}", **fields}


def delete(version: str, id_: int = 1, **fields: Any) -> Event:
    return DELETE, {"id": id_, "change_version": version, **fields}


def stored(version: str, id_: int = 1, **fields: Any) -> dict[int, Row]:
    return {id_: live(update(version, id_, **fields)[1], BEFORE)}


def gone(version: str, reason: str = "announced") -> dict[int, Row]:
    return {1: {**soft_deleted(stored(version)[1], reason, BEFORE), "synced_at": BEFORE}}


def apply(events: list[Event], rows: dict[int, Row]) -> Changes:
    reducer = EventReducer()
    reducer.add(events)
    changes = reducer.apply(rows, NOW, is_as_stored)
    after = rows | {row["id"]: row for row in changes.rows}
    assert changes.live_rows_added == live_rows(after) - live_rows(rows)
    return changes


def live_rows(rows: dict[int, Row]) -> int:
    return sum(not row["is_deleted"] for row in rows.values())


def is_as_stored(row: Row, known: Row) -> bool:
    return all(known.get(name) == value for name, value in row.items())


def merged(events: list[Event], rows: dict[int, Row]) -> dict[int, Row]:
    """The rows after the merge."""
    changes = apply(events, rows)
    return rows | {row["id"]: row for row in changes.rows}


NOTHING = Changes()
LIVE = {"is_deleted": False, "deleted_at": None, "delete_reason": None, "synced_at": NOW}


@pytest.mark.parametrize("rows", [stored("A"), gone("A"), gone("B", "vanished")])
def test_an_update_that_is_not_older_makes_the_row_live(rows: dict[int, Row]) -> None:
    assert apply([update("B")], rows).rows == [{**update("B")[1], **LIVE}]


def test_an_update_of_a_row_that_is_not_stored_inserts_it() -> None:
    assert apply([update("B")], {}).inserted == [{**update("B")[1], **LIVE}]


def test_an_update_that_is_as_stored_changes_nothing() -> None:
    assert apply([update("B")], stored("B")) == Changes(unchanged=1)


def test_an_update_of_the_stored_version_with_other_values_is_applied() -> None:
    assert len(apply([update("B", colour="red")], stored("B", colour="blue")).updated) == 1


@pytest.mark.parametrize("rows", [stored("C"), gone("C"), gone("C", "vanished")])
@pytest.mark.parametrize("event", [update("B"), delete("B")])
def test_an_older_event_changes_nothing(rows: dict[int, Row], event: Event) -> None:
    assert apply([event], rows) == NOTHING


def test_an_announced_deletion_stands_against_an_update_of_its_version() -> None:
    assert apply([update("B")], gone("B")) == NOTHING


@pytest.mark.parametrize("version", ["A", "B"])
def test_a_deletion_keeps_the_last_known_values(version: str) -> None:
    assert apply([delete("B")], stored(version, colour="red")).deleted == [
        {
            "id": 1,
            "change_version": "B",
            "comments": f"of {version}",
            "colour": "red",
            "is_deleted": True,
            "deleted_at": NOW,
            "delete_reason": "announced",
            "synced_at": NOW,
        }
    ]


def test_a_deletion_may_carry_newer_values_but_no_emptiness() -> None:
    event = delete("B", comments=None, person_id=9)
    (row,) = apply([event], stored("A", person_id=8, colour="red")).deleted
    assert (row["comments"], row["person_id"], row["colour"]) == ("of A", 9, "red")


def test_a_deletion_keeps_the_values_of_an_update_that_came_with_it() -> None:
    (row,) = apply([delete("C"), update("B", person_id=9)], stored("A")).deleted
    assert (row["comments"], row["person_id"], row["change_version"]) == ("of B", 9, "C")


def test_an_update_older_than_the_stored_row_adds_nothing_to_a_deletion() -> None:
    (row,) = apply([delete("D"), update("B")], stored("C")).deleted
    assert row["comments"] == "of C"


@pytest.mark.parametrize("events", [[delete("B")], [update("A"), delete("B")]])
def test_a_deletion_of_what_was_never_stored_is_ignored(events: list[Event]) -> None:
    assert apply(events, {}) == NOTHING


@pytest.mark.parametrize("version", ["A", "B"])
def test_a_repeated_deletion_changes_nothing(version: str) -> None:
    assert apply([delete(version)], gone("B")) == NOTHING


def test_a_row_that_vanished_and_is_then_announced_keeps_when_it_was_missed() -> None:
    (row,) = apply([delete("B")], gone("B", "vanished")).updated
    assert (row["delete_reason"], row["deleted_at"]) == ("announced", BEFORE)


@pytest.mark.parametrize("events", [[delete("D")], [update("C"), delete("D")]])
def test_a_row_that_came_and_went_between_two_runs_was_gone_all_along(events: list[Event]) -> None:
    (row,) = apply(events, gone("B")).updated
    assert (row["change_version"], row["deleted_at"], row["synced_at"]) == ("D", BEFORE, NOW)


def test_a_deletion_wins_over_an_update_of_its_version() -> None:
    changes = apply([update("B"), delete("B")], stored("A"))
    assert (changes.updated, len(changes.deleted)) == ([], 1)


def test_an_update_after_a_deletion_makes_the_row_live() -> None:
    changes = apply([update("C"), delete("B")], stored("A"))
    assert changes == Changes(updated=[{**update("C")[1], **LIVE}])


def test_versions_compare_as_text() -> None:
    assert apply([update("10")], stored("9")) == NOTHING
    assert len(apply([update("a")], stored("Z")).updated) == 1


def test_the_ids_are_those_that_were_mentioned() -> None:
    reducer = EventReducer()
    assert reducer.ids == []
    reducer.add([update("A", 2), delete("B", 5), update("C", 2)])
    assert sorted(reducer.ids) == [2, 5]


def test_events_may_come_in_several_pages() -> None:
    reducer = EventReducer()
    reducer.add([update("C")])
    reducer.add([update("B"), update("A", 2)])
    found = {
        row["id"]: row["change_version"] for row in reducer.apply({}, NOW, is_as_stored).inserted
    }
    assert found == {1: "C", 2: "A"}


IDS, VERSIONS = st.integers(1, 3), st.sampled_from("ABCDEF")
EVENTS = st.lists(
    st.builds(lambda make, version, id_: make(version, id_), st.sampled_from([update, delete]),
              VERSIONS, IDS),
    max_size=12,
)  # fmt: skip
STATES = st.dictionaries(
    IDS, st.tuples(VERSIONS, st.sampled_from([None, "announced", "vanished"])), max_size=3
)


def table(states: dict[int, tuple[str, str | None]]) -> dict[int, Row]:
    """Rows in the states that runs leave behind."""
    rows = {}
    for id_, (version, reason) in states.items():
        row = stored(version, id_)[id_]
        rows[id_] = row if reason is None else soft_deleted(row, reason, BEFORE)
    return rows


@settings(deadline=None, max_examples=100)
@given(EVENTS, STATES, st.data())
def test_order_and_repetition_mean_nothing(
    events: list[Event], states: dict[int, tuple[str, str | None]], data: st.DataObject
) -> None:
    repeated = data.draw(st.lists(st.sampled_from(events), max_size=5)) if events else []
    shuffled = data.draw(st.permutations(events + repeated))
    assert merged(shuffled, table(states)) == merged(events, table(states))


@settings(deadline=None, max_examples=100)
@given(EVENTS, STATES)
def test_the_same_events_again_change_nothing(
    events: list[Event], states: dict[int, tuple[str, str | None]]
) -> None:
    once = merged(events, table(states))
    assert merged(events, once) == once


@settings(deadline=None, max_examples=100)
@given(EVENTS, STATES)
def test_no_version_ever_goes_back(
    events: list[Event], states: dict[int, tuple[str, str | None]]
) -> None:
    before = table(states)
    after = merged(events, before)
    assert all(after[id_]["change_version"] >= row["change_version"] for id_, row in before.items())


@settings(deadline=None, max_examples=100)
@given(EVENTS, STATES)
def test_the_newest_event_decides_and_unknown_ids_appear_only_live(
    events: list[Event], states: dict[int, tuple[str, str | None]]
) -> None:
    before = table(states)
    after = merged(events, before)
    for id_ in {row["id"] for _, row in events}:
        own = [(row["change_version"], kind == DELETE) for kind, row in events if row["id"] == id_]
        version, is_delete = max(own)
        if id_ not in before:
            assert (id_ in after) is not is_delete
        if id_ in after and (id_ not in before or version > before[id_]["change_version"]):
            assert after[id_]["change_version"] == version
            assert after[id_]["is_deleted"] is is_delete


@settings(deadline=None, max_examples=100)
@given(EVENTS, STATES, st.integers(0, 12))
def test_two_runs_leave_what_one_would(
    events: list[Event], states: dict[int, tuple[str, str | None]], cut: int
) -> None:
    ordered = sorted(events, key=lambda event: (event[1]["change_version"], event[0] == DELETE))
    known = table({1: ("A", None), 2: ("A", None), 3: ("A", None)} | states)
    at_once = merged(ordered, known)
    in_two = merged(ordered[cut:], merged(ordered[:cut], known))
    assert {id_: (row["is_deleted"], row["change_version"]) for id_, row in in_two.items()} == {
        id_: (row["is_deleted"], row["change_version"]) for id_, row in at_once.items()
    }


@pytest.mark.parametrize("kind", ["Archive", "Deleted", "Update", ""])
def test_an_undocumented_change_type_is_never_taken_for_an_update(kind: str) -> None:
    with pytest.raises(UnknownChangeError, match=repr(kind)):
        apply([(kind, update("B")[1])], stored("A"))


@pytest.mark.parametrize("kind", ["InsertOrUpdate", "insertorupdate"])
def test_update_in_any_spelling(kind: str) -> None:
    assert len(apply([(kind, update("B")[1])], stored("A")).updated) == 1


@pytest.mark.parametrize("kind", ["Delete", "DELETE", "delete"])
def test_delete_in_any_spelling(kind: str) -> None:
    assert len(apply([(kind, delete("B")[1])], stored("A")).deleted) == 1


@pytest.mark.parametrize(
    ("status", "is_gone"), [("Deleted", True), ("Active", False), ("X", False)]
)
def test_the_status_of_a_deletion(status: str, is_gone: bool) -> None:
    reducer = EventReducer("Deleted")
    reducer.add([update("B", status=status)])
    changes = reducer.apply(stored("A"), NOW, is_as_stored)
    assert (len(changes.updated), len(changes.deleted)) == (not is_gone, is_gone)


def test_without_a_version_what_came_later_counts() -> None:
    assert apply([update("")], stored("B")).updated[0]["comments"] == "of "
    assert apply([update("B")], stored("")).updated[0]["change_version"] == "B"


def test_without_a_version_a_deleted_record_comes_back() -> None:
    assert len(apply([update("")], gone("")).updated) == 1
    assert len(apply([update("B")], gone("")).updated) == 1
    back = update("", comments="back")
    assert len(apply([delete(""), back], stored("")).updated) == 1
    assert len(apply([update(""), delete("")], stored("")).deleted) == 1


def test_a_deletion_without_a_version_keeps_the_last_known_one() -> None:
    [row] = apply([delete("")], stored("B")).deleted
    assert row["change_version"] == "B"
    [row] = apply([update("", comments="new"), delete("")], stored("B", comments="old")).deleted
    assert (row["change_version"], row["comments"]) == ("", "new")

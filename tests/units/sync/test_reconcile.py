"""What the rows of a full load change, what vanished, and when that is too much."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from protime_source.decode.soft_delete import Row, live, soft_deleted
from protime_source.decode.tables import BatchBuilder
from protime_source.errors import VanishedRowsError
from protime_source.sync.reconcile import (
    check_vanished_share,
    compare,
    count_distinct,
    newest_of_each_id,
    not_among,
)
from tests.units.sync.memory import DELTA, SETTINGS, MemoryTable

NOW = datetime(2026, 3, 10, tzinfo=UTC)
BUILDER = BatchBuilder(DELTA, {})


def row(version: str, id_: int = 1, **fields: Any) -> Row:
    return {"id": id_, "change_version": version, "from_date": "2026-03-01", "label": "a", **fields}


def gone(version: str) -> Row:
    return soft_deleted(row(version), "vanished", NOW)


def batch(*rows: Row) -> pa.Table:
    return BUILDER.from_rows([live(each, NOW) for each in rows])


def table(*rows: Row) -> MemoryTable:
    return MemoryTable({each["id"]: {"is_deleted": False, **each} for each in rows})


INSERTED, UPDATED, UNCHANGED, STALE = "inserted", "updated", "unchanged", "stale"


@pytest.mark.parametrize(
    ("stored", "shown", "compares_values", "outcome"),
    [
        ([], row("B"), False, INSERTED),
        ([row("B", 2)], row("B"), False, INSERTED),
        ([row("B")], row("B"), False, UNCHANGED),
        ([row("B")], row("B"), True, UNCHANGED),
        ([row("B")], row("C"), False, UPDATED),
        ([row("C")], row("B"), False, STALE),
        ([row("C")], row("B", label="b"), True, STALE),
        ([gone("B")], row("B"), False, UPDATED),
        ([gone("C")], row("B"), False, STALE),
        # At the same version values tell only if they are compared.
        ([row("B")], row("B", label="b"), False, UNCHANGED),
        ([row("B")], row("B", label="b"), True, UPDATED),
        ([row("B")], row("B", from_date="2026-03-02"), True, UPDATED),
        ([row("B", label=None)], row("B"), True, UPDATED),
        ([row("B")], row("B", label=None), True, UPDATED),
        ([row("B", label=None)], row("B", label=None), True, UNCHANGED),
        # Without a version they always tell.
        ([row("")], row(""), False, UNCHANGED),
        ([row("")], row("", label="b"), False, UPDATED),
        ([row("B")], row("", label="b"), False, UPDATED),
        ([row("")], row("B"), False, UPDATED),
    ],
)
def test_a_row_of_a_full_load_is_written_if_it_differs_and_is_not_older(
    stored: list[Row], shown: Row, compares_values: bool, outcome: str
) -> None:
    found = compare(batch(shown), table(*stored), has_version=True, compares_values=compares_values)
    ids = [shown["id"]]
    assert found.inserted.to_pylist() == ids * (outcome == INSERTED)
    assert found.updated.to_pylist() == ids * (outcome == UPDATED)
    assert found.unchanged == (outcome == UNCHANGED)
    assert found.rows["id"].to_pylist() == ids * (outcome in (INSERTED, UPDATED))


def test_values_tell_where_a_collection_has_no_versions() -> None:
    other = batch(row("B", label="b"))
    found = compare(other, table(row("B")), has_version=False, compares_values=False)
    assert found.updated.to_pylist() == [1]


def test_rows_are_compared_each_with_its_own() -> None:
    shown = batch(row("B", 4), row("B", 3), row("C", 2), row("A", 1))
    stored = table(row("B", 1), row("B", 2), row("B", 3), row("B", 9))
    found = compare(shown, stored, has_version=True, compares_values=False)
    assert found.rows.equals(shown.take([0, 2]))
    assert (found.inserted.to_pylist(), found.updated.to_pylist(), found.unchanged) == ([4], [2], 1)


def test_of_an_id_that_is_shown_again_the_newest_version_counts() -> None:
    once = batch(row("B", 2), row("A", 1))
    assert newest_of_each_id(once) is once
    repeated = batch(row("B", 2), row("A", 1), row("C", 1), row("A", 2), row("B", 1))
    assert newest_of_each_id(repeated).equals(repeated.take([0, 2]))
    same = batch(row("A", 1, label="b"), row("A", 1, label="c"))
    assert newest_of_each_id(same)["label"].to_pylist() == ["c"]


def test_what_is_not_found_is_not_among_what_was_shown() -> None:
    assert not_among(pa.array([1, 2, 3]), pa.array([3, 1, 4])).to_pylist() == [2]


@pytest.mark.parametrize("ids_per_slice", [1, 2, 3, 100])
def test_many_ids_are_compared_in_slices(
    ids_per_slice: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protime_source.sync.reconcile.IDS_PER_SLICE", ids_per_slice)
    random = Random(ids_per_slice)
    for _ in range(50):
        ids, others = (random.sample(range(40), random.randrange(30)) for _ in range(2))
        others += others[: random.randrange(10)]
        found = not_among(pa.array(ids, pa.int64()), pa.array(others, pa.int64()))
        assert found.to_pylist() == sorted({*ids} - {*others})


@pytest.mark.parametrize(
    ("parts", "count"), [([], 0), ([[]], 0), ([[1]], 1), ([[2, 1], [], [1, 3, 2]], 3)]
)
def test_an_id_counts_once(parts: list[list[int]], count: int) -> None:
    assert count_distinct([pa.array(part, pa.int64()) for part in parts]) == count


@pytest.mark.parametrize(
    ("vanished", "live_rows", "allowed", "is_refused"),
    [
        (50, 100, 0.5, False),
        (51, 100, 0.5, True),
        (9, 9, 0.5, False),
        (10, 10, 0.5, True),
        (10, 10, 1.0, False),
        (12, 10, 1.0, False),  # more were live in the end than at the start
        (0, 0, 0.0, False),
        (1, 1000, 0.0, True),
    ],
)
def test_the_guard_refuses_more_than_is_allowed_of_ten_rows_or_more(
    vanished: int, live_rows: int, allowed: float, is_refused: bool
) -> None:
    settings = replace(SETTINGS, max_vanished_share=allowed)
    try:
        check_vanished_share(DELTA, settings, vanished=vanished, live_rows=live_rows)
    except VanishedRowsError:
        assert is_refused
    else:
        assert not is_refused


def test_the_guard_says_how_many_rows_of_which_window() -> None:
    settings = replace(SETTINGS, max_vanished_share=0.125)
    start = date(2026, 1, 1)
    with pytest.raises(VanishedRowsError) as refused:
        check_vanished_share(DELTA, settings, vanished=1200, live_rows=3600, window_start=start)
    assert (
        "shifts: a complete full load from 2026-01-01 on no longer showed 1,200 of 3,600 live rows"
        " (33.33%), more than max_vanished_share allows (12.5%)"
    ) in str(refused.value)
    assert refused.value.table_name == "shifts"
    with pytest.raises(VanishedRowsError, match="complete full load no longer showed"):
        check_vanished_share(DELTA, settings, vanished=1200, live_rows=3600)

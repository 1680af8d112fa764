"""Whether a staging table holds the rows of a package still."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from protime_source.warehouse.staging import StagedRows, holds

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1)
EARLIER = NOON - timedelta(minutes=1)
OURS = StagedRows(3, NOON, LATER)


def test_the_rows_of_all_batches_count() -> None:
    staged = StagedRows()
    for moments in ([LATER], [], [NOON, NOON]):
        column = pa.array(moments, pa.timestamp("us", "UTC"))
        staged.add(pa.table({"synced_at": column}))
    assert staged == OURS
    assert StagedRows.from_json(staged.to_json()) == staged


@pytest.mark.parametrize(
    ("held", "whole", "some"),
    [
        (OURS, True, True),
        (StagedRows(6, NOON, LATER), True, True),  # copied twice
        (StagedRows(2, NOON, LATER), False, True),
        (StagedRows(1, NOON, NOON), False, True),
        (StagedRows(3, EARLIER, LATER), False, False),
        (StagedRows(3, NOON, LATER + timedelta(microseconds=1)), False, False),
        (StagedRows(), False, False),
    ],
)
def test_a_staging_table_may_hold_the_rows(held: StagedRows, whole: bool, some: bool) -> None:
    assert holds({"people": OURS}, {"people": held}, {"people": True}) is whole
    assert holds({"people": OURS}, {"people": held}, {"people": False}) is some


def test_a_package_without_rows_of_a_table_needs_none() -> None:
    assert holds({"people": StagedRows()}, {}, {"people": True})

"""Columns that somebody's `add_map` adds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time
from decimal import Decimal
from typing import Any

import dlt
import pyarrow as pa
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import SettingsError, protime
from protime_source.pipeline.failures import explain
from tests.engines import sql_engines
from tests.world import World

VALUES: dict[str, tuple[Any, pa.DataType]] = {
    "whole": (7, pa.int64()),
    "words": ("seven", pa.string()),
    "day": (date(2026, 1, 31), pa.date32()),
    "amount": (Decimal("12.50"), pa.decimal128(38, 9)),
    "moment": (time(6, 30), pa.time64("us")),
    "bits": (b"\xaa", pa.binary()),
}


def add(table: pa.Table) -> pa.Table:
    """A map that adds columns, and leaves alone what it has done already."""
    for name, (value, kind) in VALUES.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.array([value] * table.num_rows, kind))
    return table


@sql_engines
def test_a_deleted_row_keeps_what_a_map_has_added(world: World) -> None:
    def run() -> None:
        source = protime()
        source.assignments.add_map(add)
        world.pipeline().run(source)

    run()
    first = min(world.tenant.records)
    before = world.rows()[first]
    world.tenant.churn(20, seed=1)
    world.tenant.delete(first)
    run()
    row = world.rows()[first]
    assert row["delete_reason"] == "announced"
    assert {name: row[name] for name in VALUES} == {name: before[name] for name in VALUES}
    assert None not in [before[name] for name in VALUES]
    assert row.keys() == before.keys(), "a column was added because a type had changed"
    world.check()


LOSSES: dict[str, tuple[Callable[[pa.Table], Any], str]] = {
    "nothing": (lambda table: None, "returned nothing for"),
    "fewer rows": (lambda table: table.slice(1), "returned 49 for 50 rows"),
    "one row of a batch": (lambda table: [table.slice(0, 1)], "returned 1 for 50 rows"),
    "a generator": (lambda table: iter([table]), "returned list_iterator for"),
    "later": (lambda table: lambda: table, "returned function for"),
    "hints": (lambda table: dlt.mark.with_table_name(table, "other"), "for 50 rows"),
}


def test_a_map_that_loses_rows_fails_the_run(
    world: World, every_page_is_a_table: None, subtests: pytest.Subtests
) -> None:
    for loss, (losing, words) in LOSSES.items():
        with subtests.test(loss):
            source = protime()
            source.assignments.add_map(lambda table: table)
            source.assignments.add_map(losing)
            with pytest.raises(PipelineStepFailed) as caught:
                world.pipeline().run(source)
            failure = explain(caught.value)
            assert failure.exit_code == SettingsError.exit_code
            assert words in failure.message
            assert not world.engine.holds("assignments")
    world.run()
    world.check()


def test_a_map_that_loses_a_change_leaves_the_bookmark(world: World) -> None:
    world.run()
    bookmark = world.bookmark()
    world.tenant.churn(30)
    source = protime()
    source.assignments.add_map(lambda table: table.slice(1))
    with pytest.raises(PipelineStepFailed):
        world.pipeline().run(source)
    assert world.bookmark() == bookmark
    world.run()
    world.check()


def test_a_map_may_take_the_name_of_its_table_and_measure(world: World) -> None:
    """What dlt gives a map and a measure beside the rows is theirs as ever."""
    measured: list[int] = []

    def measure(table: Any, meta: Any, metrics: dict[str, Any]) -> None:
        measured.append(table.num_rows)

    source = protime()
    source.assignments.add_map(lambda table, meta: table)
    source.assignments.add_metrics(measure)
    world.pipeline().run(source)
    world.check()
    assert sum(measured) == len(world.tenant.records)

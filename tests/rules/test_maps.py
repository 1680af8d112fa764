"""Columns that somebody's `add_map` adds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from protime_source import protime
from tests.engines import sql_engines
from tests.world import World

VALUES: dict[str, tuple[Any, pa.DataType]] = {
    "integer": (7, pa.int64()),
    "text": ("seven", pa.string()),
    "date": (date(2026, 1, 31), pa.date32()),
    "decimal": (Decimal("12.50"), pa.decimal128(38, 9)),
    "time": (time(6, 30), pa.time64("us")),
    "binary": (b"\xaa", pa.binary()),
}


def adds(value: Any, kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    """A map that adds a column, and leaves alone what it has done already."""

    def add(table: pa.Table) -> pa.Table:
        if "mine" in table.column_names:
            return table
        return table.append_column("mine", pa.array([value] * table.num_rows, kind))

    return add


@sql_engines
@pytest.mark.parametrize("kind", VALUES)
def test_a_deleted_row_keeps_what_a_map_has_added(world: World, kind: str) -> None:
    def run() -> None:
        source = protime()
        source.assignments.add_map(adds(*VALUES[kind]))
        world.pipeline().run(source)

    run()
    first = min(world.tenant.records)
    before = world.rows()[first]["mine"]
    world.tenant.churn(20, seed=1)
    world.tenant.delete(first)
    run()
    row = world.rows()[first]
    assert (row["delete_reason"], row["mine"]) == ("announced", before)
    assert before is not None
    assert not [name for name in row if name.startswith("mine__v")]
    world.check()

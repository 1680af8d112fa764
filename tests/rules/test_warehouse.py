"""Changes that others make in the warehouse, and pipelines that share it, leave the data right."""

from __future__ import annotations

import pytest

from protime_source import WarehouseError, protime
from protime_source.pipeline.failures import explain
from tests.world import World


def test_a_second_pipeline_into_a_dataset_loads_fully_and_soft_deletes_vanished_rows(
    world: World,
) -> None:
    world.run()
    for id_ in list(world.tenant.records)[:20]:
        world.tenant.delete(id_)
    world.pipeline("another").run(protime())
    world.check()
    vanished = [row for row in world.rows().values() if row["is_deleted"]]
    assert {row["delete_reason"] for row in vanished} == {"vanished"}
    assert len(vanished) == 20
    world.tenant.churn(30, seed=1)
    world.run()
    world.check()


MINE = {
    "DECIMAL(9, 2)": "12.50",
    "DATE": "DATE '2026-01-31'",
    "BLOB": r"'\xAA'::BLOB",
    "INTEGER[]": "[1, 2]",
}


def test_a_column_added_by_hand_keeps_its_values(world: World) -> None:
    world.run()
    first = min(world.tenant.records)
    names = [f"mine_{number}" for number in range(len(MINE))]
    for name, (kind, literal) in zip(names, MINE.items(), strict=True):
        world.query(f"ALTER TABLE protime_data.assignments ADD COLUMN {name} {kind}")
        world.query(f"UPDATE protime_data.assignments SET {name} = {literal}")
    before = world.rows()[first]
    world.tenant.delete(first)
    world.tenant.churn(20, seed=1)
    world.run()
    world.check()
    row = world.rows()[first]
    assert row["delete_reason"] == "announced"
    assert [row[name] for name in names] == [before[name] for name in names]
    assert None not in [before[name] for name in names]


def test_no_source_is_extracted_while_packages_are_pending(world: World) -> None:
    pipeline = world.run()
    pipeline.extract(protime())
    with pytest.raises(Exception, match="not loaded yet") as caught:
        pipeline.extract(protime())
    assert explain(caught.value).exit_code == WarehouseError.exit_code

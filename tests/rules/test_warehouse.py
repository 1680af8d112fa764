"""Changes that others make in the warehouse, and pipelines that share it, leave the data right."""

from __future__ import annotations

import pytest

from protime_source import SettingsError, WarehouseError, protime, reset, verify
from protime_source.pipeline.failures import Failure, explain
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


def refusal(world: World) -> Failure:
    """Why a run is refused, before anything is asked of Protime."""
    world.tenant.clear_requests()
    with pytest.raises(Exception) as caught:  # noqa: PT011 - dlt wraps what a resource raises
        world.run()
    assert world.requests == 0
    return explain(caught.value)


@pytest.mark.parametrize("engine", ["duckdb", "postgres"], indirect=True)
def test_a_table_without_a_column_that_tells_rows_apart_is_refused_with_a_way_out(
    world: World,
) -> None:
    world.run()
    for name in ("id", "change_version", "from_date", "is_deleted", "synced_at"):
        table = f"{world.dataset}.assignments"
        world.query(f"ALTER TABLE {table} RENAME COLUMN {name} TO renamed")
        world.tenant.churn(5)
        refused = refusal(world)
        assert refused.exit_code == WarehouseError.exit_code
        assert refused.message.startswith(f"assignments lacks {name}, without which")
        with pytest.raises(WarehouseError, match=f"lacks {name}"):
            verify(world.pipeline())
        world.query(f"ALTER TABLE {table} RENAME COLUMN renamed TO {name}")
        world.run()
        world.check()
    world.query(f"ALTER TABLE {table} DROP COLUMN is_deleted CASCADE")
    assert "`protime reset assignments`" in refusal(world).message
    reset(world.pipeline(), "assignments")
    world.run()
    world.check()


@pytest.mark.parametrize("engine", ["duckdb", "postgres"], indirect=True)
@pytest.mark.parametrize("name", ["add_dlt_id", "add_dlt_load_id"])
def test_a_column_of_dlts_is_not_switched_on_or_off_for_a_table_that_exists(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"NORMALIZE__PARQUET_NORMALIZER__{name.upper()}"
    setting = f"[normalize.parquet_normalizer] {name} = true"
    world.run()
    world.tenant.churn(5)
    monkeypatch.setenv(variable, "true")
    refused = refusal(world)
    assert refused.exit_code == SettingsError.exit_code
    assert f"Remove {setting}" in refused.message
    reset(world.pipeline(), "assignments")
    world.run()
    world.tenant.churn(5)
    world.run()
    world.check()
    monkeypatch.delenv(variable)
    world.tenant.churn(5)
    assert f"Set {setting}" in refusal(world).message
    monkeypatch.setenv(variable, "true")
    world.run()
    world.check()


@pytest.mark.parametrize("engine", ["duckdb", "postgres"], indirect=True)
def test_a_table_of_dlts_that_somebody_dropped_comes_back(world: World) -> None:
    world.run()
    for name in ("_dlt_loads", "_dlt_pipeline_state", "_dlt_version"):
        world.query(f"DROP TABLE {world.dataset}.{name}")
        for _ in range(2):
            world.tenant.churn(5)
            world.run()
            world.check()
        assert world.engine.holds(name)

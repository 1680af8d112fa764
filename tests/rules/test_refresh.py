"""Everything is loaded again on request: dlt's `refresh`."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import WarehouseError, protime
from protime_source.cli.failures import explain
from protime_source.pipeline.load import load
from tests.engines import ENGINES
from tests.world import World

MODES = ("drop_data", "drop_resources", "drop_sources")
"""The last two drop the same tables with the same SQL."""


def is_found_by_id(world: World) -> bool:
    """Whether a merge finds its rows: by Postgres's index, by BigQuery's clusters."""
    return world.engine.keys("assignments") == ([] if world.engine.name == "duckdb" else ["id"])


def refresh(world: World, mode: Any = "drop_resources") -> None:
    world.pipeline().run(protime(), refresh=mode)


@pytest.mark.parametrize(
    ("engine", "mode"),
    [*product(ENGINES[:1], MODES), *product(ENGINES[1:2], MODES[:2]), (ENGINES[2], MODES[1])],
    indirect=["engine"],
)
def test_refresh_loads_everything_again(world: World, mode: str) -> None:
    """Also rows whose stored version is newer, and Postgres with a view above the table."""
    world.run()
    assert is_found_by_id(world)
    world.tenant.churn(30)
    world.run()
    world.tenant.churn(30)
    refresh(world, mode)
    assert world.rows().keys() == world.tenant.records.keys()
    assert is_found_by_id(world)
    world.check()
    world.check_levels()
    world.tenant.churn(30)
    world.run()
    world.check()


def test_rows_that_are_dropped_are_no_reason_to_leave_others_out(world: World) -> None:
    """Their versions were newer than those that the full load shows."""
    world.run()
    world.query(f"UPDATE {world.dataset}.assignments SET change_version = 'Z'")
    refresh(world)
    world.check()


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_a_view_of_somebody_elses_above_the_table(world: World) -> None:
    """Postgres drops no table below it: the rows stay, and so does our view."""
    world.run()
    before = world.rows()
    world.tenant.churn(30)
    world.query(f"CREATE VIEW theirs AS SELECT id FROM {world.dataset}.assignments")
    with pytest.raises(PipelineStepFailed) as caught:
        refresh(world)
    failure = explain(caught.value)
    assert failure.exit_code == WarehouseError.exit_code
    assert "Drop the view, run again" in failure.message
    assert failure.message.endswith("It is view theirs.")
    assert world.rows() == before
    assert world.query(f"SELECT COUNT(*) FROM {world.dataset}.assignments__activity_levels")[0][0]
    assert len(world.query("SELECT * FROM theirs")) == len(before)
    world.query("DROP VIEW theirs")
    load(world.pipeline())
    world.check()
    world.check_levels()

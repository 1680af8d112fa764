"""Loading everything again on request: dlt's `refresh` and `dlt pipeline drop`."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from typing import Any

import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from dlt.pipeline.helpers import pipeline_drop

from protime_source import WarehouseError, protime
from protime_source.pipeline.failures import explain
from tests.command import environment
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
    [(ENGINES[0], MODES[2]), *product(ENGINES[1:2], MODES[:2]), (ENGINES[2], MODES[1])],
    indirect=["engine"],
)
def test_refresh_loads_everything_again(world: World, mode: str) -> None:
    """On Postgres with a view on the table, too, and a view of somebody's on that one.

    The versions of dropped rows, newer than those that the full load shows, reject no new rows.
    """
    world.run()
    assert is_found_by_id(world)
    view = f"{world.dataset}.assignments__activity_levels"
    world.query(f"CREATE VIEW {world.dataset}.theirs AS SELECT level FROM {view}")
    world.query(f"UPDATE {world.dataset}.assignments SET change_version = 'Z' WHERE id > 0")
    world.tenant.churn(30)
    refresh(world, mode)
    assert world.rows().keys() == world.tenant.records.keys()
    assert is_found_by_id(world)
    world.check()
    world.check_levels()
    shown = world.query(f"SELECT COUNT(*) FROM {world.dataset}.theirs")
    assert shown == world.query(f"SELECT COUNT(*) FROM {view}")
    assert shown != [(0,)]
    world.tenant.churn(30)
    world.run()
    world.check()


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_a_refresh_names_the_view_of_somebody_else_that_blocks_it(world: World) -> None:
    """Postgres drops no table that a view reads: the rows stay, and so does our view."""
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
    world.load()
    world.check()
    world.check_levels()


def test_after_a_drop_a_run_loads_table_and_view_again(world: World) -> None:
    world.run()
    pipeline_drop(world.pipeline(), drop_all=True)()
    assert not world.engine.holds("assignments")
    world.tenant.churn(30)
    world.run()
    world.check()
    world.check_levels()
    assert is_found_by_id(world)


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_the_drop_command_of_dlt_drops_tables_that_our_views_read(world: World) -> None:
    """It runs in a process that never imports this package."""
    world.run()
    pipelines = str(world.folder / "pipelines")
    script = "from dlt._workspace.cli._dlt import _main; raise SystemExit(_main())"
    arguments = ["--yes", "pipeline", "--pipelines-dir", pipelines, "protime", "drop", "--drop-all"]
    dropped = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=environment(world),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert dropped.returncode == 0, dropped.stdout + dropped.stderr
    assert not world.engine.holds("assignments")
    world.run()
    world.check()
    world.check_levels()

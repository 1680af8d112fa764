"""A load package counts only on the committed state that it was extracted from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import protime
from protime_source.demo import Behaviour, Fault
from tests.conftest import WorldFactory
from tests.engines import sql_engines
from tests.kill_points import run_until
from tests.world import World

pytestmark = pytest.mark.filterwarnings("ignore:The 'warn' method:DeprecationWarning")
"""dlt's own, when it loads what is pending."""

Run = Callable[[World], object]


def _run(world: World) -> None:
    """Dlt's own `run`, which loads what is pending and then returns."""
    for _ in range(2):
        world.pipeline().run(protime())


def _load(world: World) -> None:
    world.load()


both_ways = pytest.mark.parametrize("run", [_run, _load])


def _leave_a_package(world: World, *, normalized: bool = False) -> None:
    """A run that dies before its load."""
    pipeline = world.pipeline()
    pipeline.extract(protime())
    if normalized:
        pipeline.normalize()


def _elsewhere(world: World) -> World:
    """Another working folder for the same warehouse, as on another host."""
    return replace(world, folder=world.folder / "elsewhere")


@pytest.mark.parametrize(("run", "normalized"), [(_run, True), (_load, False)])
def test_a_package_is_discarded_when_a_backup_was_put_back(
    world: World, run: Run, caplog: pytest.LogCaptureFixture, normalized: bool
) -> None:
    world.run()
    shutil.copy(world.database, world.folder / "backup")
    world.tenant.churn(12, seed=1)
    world.run()
    world.tenant.churn(4, seed=2)
    _leave_a_package(world, normalized=normalized)
    shutil.copy(world.folder / "backup", world.database)
    run(world)
    assert "is thrown away" in caplog.text
    world.check()


def test_dlt_may_be_set_to_empty_the_staging_tables_after_each_load(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOAD__TRUNCATE_STAGING_DATASET", "true")
    world.load()
    assert world.staged() == []
    world.tenant.churn(5)
    world.load()
    world.check()


def test_a_package_is_discarded_when_others_rows_were_staged_since(
    make_world: WorldFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """Dlt goes on with the merge, of whatever the staging table holds by then."""
    # Links stay valid, so that no full load mends what is lost.
    world = make_world(rows=20, behaviour=Behaviour(older_delta_dies=False))
    other = _elsewhere(world)
    world.load()
    other.load()
    world.tenant.churn(5, seed=1)
    assert run_until("staging load's completion", "after", world)
    world.tenant.churn(5, seed=2)
    assert run_until("staging load's completion", "after", other)
    world.load()
    assert "another run has used the staging tables since its rows were copied" in caplog.text
    other.load()
    world.check()


@pytest.mark.parametrize("engine", ["duckdb", "postgres"], indirect=True)
def test_a_package_is_discarded_when_a_run_has_merged_since_and_died(
    make_world: WorldFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """The package ignores the deletion of a row that it did not find, and that is merged then."""
    world = make_world(rows=20, behaviour=Behaviour(older_delta_dies=False))
    other = _elsewhere(world)
    world.load()
    other.load()
    start = next(iter(world.tenant.records.values()))["from"]
    new = world.tenant.create({"person": {"id": 7}, "from": start})
    _leave_a_package(other)
    world.tenant.delete(new)
    world.tenant.churn(2, seed=1)
    _leave_a_package(world)
    assert run_until("load record", "before", other)
    world.load()
    assert "another run has used the staging tables since it was received" in caplog.text
    world.check()


@pytest.mark.parametrize(
    ("engine", "is_replaced"),
    [("duckdb", False), ("duckdb", True), ("postgres", False), ("bigquery", True)],
    indirect=["engine"],
)
def test_a_state_is_taken_back_when_its_run_died_and_others_rows_were_staged(
    make_world: WorldFactory, caplog: pytest.LogCaptureFixture, is_replaced: bool
) -> None:
    """What was merged may have been those: the run died before it looked."""
    world = make_world(rows=20, behaviour=Behaviour(older_delta_dies=False))
    world.load()
    world.tenant.churn(5, seed=1)
    assert run_until("load record", "after", world)
    world.lose_working_folder()
    if is_replaced:
        world.query(
            f"UPDATE {world.dataset}_staging.assignments SET synced_at = '2000-01-01' WHERE id > 0"
        )
    world.load()
    assert ("is fetched again" in caplog.text) is is_replaced
    world.check()


@sql_engines
def test_a_staging_table_without_its_column_says_nothing_of_a_run_that_died(world: World) -> None:
    world.load()
    world.tenant.churn(5, seed=1)
    assert run_until("load record", "after", world)
    world.lose_working_folder()
    world.query(f"ALTER TABLE {world.dataset}_staging.assignments DROP COLUMN synced_at")
    world.tenant.churn(5, seed=2)
    with pytest.raises(PipelineStepFailed) as failed:
        world.load()
    assert failed.value.step == "load"
    world.load()
    world.check()


@pytest.mark.parametrize(
    ("engine", "run"), [("duckdb", _run), ("postgres", _load)], indirect=["engine"]
)
def test_a_package_is_discarded_when_another_working_folder_went_on(world: World, run: Run) -> None:
    world.run()
    changed = min(world.tenant.records)
    start = world.tenant.records[changed]["from"]
    world.tenant.update(changed, {"person": {"id": 7}, "from": start, "comments": "changed"})
    _leave_a_package(world)
    other = _elsewhere(world)
    other.run()
    world.tenant.delete(changed)
    world.tenant.clock.advance(hours=73)
    other.run()
    world.tenant.churn(3, seed=5)
    run(world)
    world.check()
    other.run()
    world.check()


def test_a_package_of_a_snapshot_is_discarded_when_another_working_folder_went_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Such a collection has no link in its bookmark that would tell one state from the next."""
    tenant, other = world.tenant, _elsewhere(world)
    world.pipeline().run(protime("departments"))
    gone, changed = list(tenant.of("departments"))[:2]
    tenant.write("departments", changed, {**tenant.of("departments")[changed], "name": "Old"})
    world.pipeline().extract(protime("departments"))
    tenant.write("departments", changed, {**tenant.of("departments")[changed], "name": "New"})
    tenant.write("departments", gone, None)
    other.pipeline().run(protime("departments"))
    world.pipeline().run()
    assert "is thrown away" in caplog.text
    world.check_tables("departments")


@pytest.mark.parametrize(
    ("run", "edit"),
    [(_run, "DELETE FROM {table}"), (_load, "ALTER TABLE {table} DROP COLUMN comments")],
    ids=["emptied", "without a column"],
)
def test_a_package_is_discarded_when_the_table_was_edited_by_hand(
    world: World, run: Run, edit: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A package of a full load holds only what differed from the rows that the table had."""
    world.run()
    world.tenant.churn(5, seed=1)
    world.pipeline().extract(protime(full_resync=True))
    world.query(edit.format(table=f"{world.dataset}.assignments"))
    run(world)
    assert "lost its rows or a column" in caplog.text
    world.check()


@pytest.mark.parametrize(
    ("run", "edit"),
    [(_load, "DELETE FROM {table}"), (_run, "ALTER TABLE {table} DROP COLUMN comments")],
    ids=["emptied", "without a column"],
)
def test_a_package_is_discarded_when_the_table_of_a_dead_first_load_was_edited(
    world: World, run: Run, edit: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No state says that the table had rows; the package does, which left them out."""
    assert run_until("load record", "before", world)
    other = _elsewhere(world)
    world.tenant.churn(5, seed=1)
    _leave_a_package(other)
    world.query(edit.format(table=f"{world.dataset}.assignments"))
    run(other)
    assert "lost its rows or a column" in caplog.text
    world.check()


@both_ways
def test_a_package_is_loaded_when_nothing_happened_since(
    world: World, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    world.run()
    world.tenant.churn(12, seed=1)
    _leave_a_package(world, normalized=True)
    world.tenant.clear_requests()
    run(world)
    assert "is thrown away" not in caplog.text
    assert world.requests == 1
    world.check()


@both_ways
def test_a_package_for_another_warehouse_is_discarded(
    world: World, run: Run, tmp_path: Path
) -> None:
    world.run()
    world.tenant.churn(12, seed=1)
    _leave_a_package(world)
    world.database = tmp_path / "another.duckdb"
    run(world)
    world.check()


def _committed_at(world: World, seconds: int) -> None:
    """Moves the last commit in time, as if the machine's clock had been wrong."""
    [(newest,)] = world.query(f"SELECT MAX(load_id) FROM {world.dataset}._dlt_loads")
    moved = str(float(newest) + seconds)
    for table, column in (("_dlt_loads", "load_id"), ("_dlt_pipeline_state", "_dlt_load_id")):
        world.query(
            f"UPDATE {world.dataset}.{table} SET {column} = '{moved}' WHERE {column} = '{newest}'"
        )


def test_a_clock_that_was_ahead_changes_nothing_for_later_runs(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.run()
    world.tenant.churn(5, seed=1)
    world.run()
    _committed_at(world, seconds=86_400)
    for seed, loses_folder in ((2, False), (3, False), (4, True), (5, True)):
        world.tenant.churn(5, seed=seed)
        events = len(world.tenant.records)
        if loses_folder:
            world.lose_working_folder()
        world.tenant.clear_requests()
        world.run()
        assert world.requests == 1
        assert len(world.staged()) <= 5 < events
        world.check()
    assert "older than the working folder" not in caplog.text


def _refused_by_the_table(world: World) -> Callable[[], object]:
    """A constraint that refuses the next delta; the way to let it in again."""
    table = f"{world.dataset}.assignments"
    refuse = f"CREATE UNIQUE INDEX once ON {table} (comments)"
    let_in = f"DROP INDEX {world.dataset}.once"
    if world.engine.name == "ducklake":  # it has no indexes
        column = f"ALTER TABLE {table} ALTER COLUMN end_time_in_minutes"
        refuse, let_in = f"{column} SET NOT NULL", f"{column} DROP NOT NULL"
    world.query(refuse)
    for _ in range(2):
        record = next(iter(world.tenant.records.values()))
        world.tenant.create({"person": {"id": 7}, "from": record["from"], "comments": "same"})
    return lambda: world.query(let_in)


@sql_engines
def test_a_package_that_the_destination_refuses_is_thrown_away_and_asked_for_again(
    make_world: WorldFactory, caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world(rows=1)
    world.run()
    let_in = _refused_by_the_table(world)
    with pytest.raises(PipelineStepFailed):
        world.load()
    assert "is thrown away" not in caplog.text
    with pytest.raises(PipelineStepFailed):
        world.load()
    assert "the destination refused it twice" in caplog.text
    let_in()
    world.load()
    world.check()


def test_dlts_own_run_throws_it_away_after_a_second_refusal(
    make_world: WorldFactory, caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world(rows=1)
    world.run()
    let_in = _refused_by_the_table(world)
    for _ in range(2):
        with pytest.raises(PipelineStepFailed):
            world.run()
    let_in()
    world.tenant.clear_requests()
    world.run()
    assert "the destination refused it twice" in caplog.text
    assert world.requests == 1
    world.check()


@sql_engines
@pytest.mark.parametrize("lost", ["", "is_deleted", "synced_at", "comments"])
def test_a_staging_table_that_somebody_changed_is_created_again(world: World, lost: str) -> None:
    for seed in range(2):
        world.run()
        world.tenant.churn(5, seed=seed)
    table = f"{world.dataset}_staging.assignments"
    world.query(f"ALTER TABLE {table} DROP COLUMN {lost}" if lost else f"DROP TABLE {table}")
    with pytest.raises(PipelineStepFailed):
        world.load()
    world.load()
    world.check()


def test_a_package_that_dlt_cannot_load_does_not_block_a_run(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """As after `dlt pipeline drop`, or when the schemas were deleted."""
    world.run()
    world.tenant.churn(5, seed=1)
    _leave_a_package(world, normalized=True)
    folder = world.folder / "pipelines" / "protime"
    shutil.rmtree(folder / "schemas")
    state = json.loads((folder / "state.json").read_text())
    state["default_schema_name"] = None
    (folder / "state.json").write_text(json.dumps(state))
    world.load()
    world.check()


@pytest.mark.parametrize(("deletes", "kept"), [("true", 2), ("false", 4)])
def test_old_loaded_packages_leave_nothing_in_the_working_folder(
    world: World, monkeypatch: pytest.MonkeyPatch, deletes: str, kept: int
) -> None:
    """If dlt is set to delete what is loaded; else it keeps everything."""
    monkeypatch.setenv("LOAD__DELETE_COMPLETED_JOBS", deletes)
    monkeypatch.setattr("protime_source.pipeline.folder.PACKAGES_KEPT", 2)
    loads = f"SELECT load_id FROM {world.dataset}._dlt_loads ORDER BY load_id"
    for _ in range(4):
        world.run()
        world.tenant.churn(3)
    folder = world.folder / "pipelines" / "protime" / "load" / "loaded"
    found = sorted(path.name for path in folder.iterdir())
    assert found == [load_id for (load_id,) in world.query(loads)][-kept:]


@both_ways
def test_what_a_failed_run_has_left_is_removed_by_the_next_one(world: World, run: Run) -> None:
    """Dlt leaves a folder of what was received in part; of one that was killed, rows included."""
    world.tenant.faults.append(Fault("status", status=400, after=3))
    with pytest.raises(PipelineStepFailed):
        run(world)
    folder = world.folder / "pipelines" / "protime" / "normalize"
    assert [*folder.glob("*/*/new_jobs")]
    run(world)
    assert {path.name for path in folder.iterdir()} == {".version", "extracted"}
    world.check()

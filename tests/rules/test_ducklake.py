"""What is DuckLake's own: its catalogs, its lock, and who else changes the lake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.destinations.impl.ducklake.configuration import DuckLakeCredentials
from dlt.destinations.impl.ducklake.sql_client import DuckLakeSqlClient as _LakeClient

from protime_source import AlreadyRunningError, check, protime, status
from protime_source.errors import SettingsError, WarehouseError
from protime_source.pipeline.failures import explain
from protime_source.pipeline.load import load
from protime_source.pipeline.lock import one_run_on_dataset
from tests.engines import DuckLakeEngine, all_lakes, lakes
from tests.servers.ducklake import connect_to_lake
from tests.world import Moment, World


@lakes
def test_a_first_load_and_changes(world: World) -> None:
    world.run()
    world.check()
    world.check_levels()
    world.tenant.churn(20)
    world.load()
    world.check()


@lakes
def test_one_run_at_a_time_also_from_another_working_folder(world: World) -> None:
    """Of one dataset: another one in the same lake has a lock of its own."""
    other = replace(world, folder=world.folder / "elsewhere")
    with one_run_on_dataset(world.pipeline(), 0):
        with pytest.raises(AlreadyRunningError, match="Another run loads into the dataset"):
            other.load()
        with one_run_on_dataset(other.pipeline(dataset="other_data"), 0):
            assert world.tenant.requests == []
    with one_run_on_dataset(other.pipeline(), 0):
        pass


@all_lakes
def test_whoever_looks_creates_no_lake(world: World) -> None:
    assert isinstance(world.engine, DuckLakeEngine)
    assert {line.text for line in check(world.pipeline()).problems} == set()
    assert not status(world.pipeline()).healthy
    assert not world.engine.exists()
    world.run()
    assert world.engine.exists()
    assert status(world.pipeline()).healthy


UNUSABLE: dict[str, tuple[str, str]] = {
    "duckdb:///lake.duckdb": ("ducklake", "which one connection at a time can have open"),
    "mysql://loader:not-seen@127.0.0.1/lake": ("ducklake", "mysql://, which is not supported"),
    "postgresql+psycopg2://loader:not-seen@127.0.0.1/lake": ("ducklake", "is not supported"),
    "sqlite:///lake.sqlite": ("Protime_Data", "the two names must differ"),
}


@pytest.mark.parametrize("catalog", UNUSABLE)
def test_a_catalog_that_cannot_be_used_is_refused(world: World, catalog: str) -> None:
    name, words = UNUSABLE[catalog]
    pipeline = _pipeline(world, DuckLakeCredentials(name, catalog=catalog, storage="lake"))
    said = _refusal(world, load, pipeline)
    assert (words in said.message, said.exit_code) == (True, SettingsError.exit_code)
    assert "not-seen" not in said.message
    assert [path.name for path in Path.cwd().iterdir() if "lake" in path.name] == []


def test_a_catalog_in_a_missing_folder_is_refused(world: World) -> None:
    credentials = DuckLakeCredentials(catalog="sqlite:///missing/lake.sqlite", storage="lake")
    said = _refusal(world, load, _pipeline(world, credentials))
    assert "its folder does not exist" in said.message
    assert said.exit_code == WarehouseError.exit_code


@pytest.mark.parametrize("engine", ["ducklake_sqlite"], indirect=True)
@pytest.mark.parametrize("way", [load, lambda pipeline: pipeline.run(protime()), status])
def test_a_catalog_that_is_away_is_said(world: World, way: Callable[..., object]) -> None:
    catalog = "postgresql://loader:not-seen@127.0.0.1:1/lake"
    said = _refusal(
        world, way, _pipeline(world, DuckLakeCredentials(catalog=catalog, storage="lake"))
    )
    assert said.message.startswith("The catalog of the DuckLake cannot be opened: connection to")
    assert said.message.endswith("Check [destination.ducklake.credentials] catalog.")
    assert "not-seen" not in said.message


@all_lakes
def test_somebody_else_may_write_to_the_lake_while_protime_is_asked(world: World) -> None:
    """Compaction, and rows of another dataset."""
    assert isinstance(world.engine, DuckLakeEngine)
    world.run()
    lake = world.engine
    world.query("CREATE SCHEMA theirs")

    def write() -> None:
        with connect_to_lake(lake.catalog, lake.files) as connection:
            connection.execute("CREATE TABLE theirs.rows AS SELECT * FROM range(100)")
            connection.execute("CHECKPOINT")

    world.tenant.churn(20)
    world.tenant.faults.append(Moment(action=write))
    world.run()
    world.check()
    assert world.query("SELECT count(*) FROM theirs.rows") == [(100,)]


@all_lakes
def test_a_reader_in_a_transaction_keeps_its_picture_and_no_run_waits_for_it(world: World) -> None:
    """Of all tables: a run changes each in a snapshot of its own."""
    assert isinstance(world.engine, DuckLakeEngine)
    names = ("assignments", "departments")
    looks = [f"SELECT id, synced_at FROM {world.dataset}.{name} ORDER BY id" for name in names]
    world.run(collections=names)
    with connect_to_lake(world.engine.catalog, world.engine.files) as connection:
        connection.begin()
        before = [connection.execute(look).fetchall() for look in looks]
        world.tenant.churn(20)
        world.run(collections=names)
        world.check()
        assert [connection.execute(look).fetchall() for look in looks] == before
        connection.rollback()
        assert [connection.execute(look).fetchall() for look in looks] != before


@all_lakes
def test_a_conflict_with_somebody_else_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody deletes rows of the table between the beginning and the end of a merge."""
    assert isinstance(world.engine, DuckLakeEngine)
    world.run()
    world.tenant.churn(20)
    lake = world.engine
    conflicts: list[Any] = []
    execute = _LakeClient.execute_sql

    def late(self: Any, sql: Any, *args: Any, **kwargs: Any) -> Any:
        if "MERGE INTO" not in str(sql) or conflicts:
            return execute(self, sql, *args, **kwargs)
        self.native_connection.begin()
        found = execute(self, sql, *args, **kwargs)
        with connect_to_lake(lake.catalog, lake.files) as connection:
            connection.execute(f"UPDATE {world.dataset}.assignments SET comments = 'theirs'")
        conflicts.append(sql)
        self.commit_transaction()
        return found

    monkeypatch.setattr(_LakeClient, "execute_sql", late)
    world.run()
    assert len(conflicts) == 1
    world.load(full_resync=True)
    assert {row["id"] for row in world.live().values()} == {*world.tenant.records}


@all_lakes
def test_the_lake_is_right_after_its_upkeep(world: World) -> None:
    """What docs/destinations.md tells to run from time to time."""
    assert isinstance(world.engine, DuckLakeEngine)
    lake = world.engine
    for seed in range(3):
        world.tenant.churn(20, seed=seed)
        world.run()
    with connect_to_lake(lake.catalog, lake.files) as connection:
        connection.execute("CALL ducklake_expire_snapshots('ducklake', older_than => now())")
        connection.execute("CHECKPOINT")
        connection.execute("CALL ducklake_cleanup_old_files('ducklake', cleanup_all => true)")
        assert connection.execute("SELECT count(*) FROM ducklake.snapshots()").fetchall()[0][0] < 5
    world.check()
    world.tenant.churn(20)
    world.run()
    world.check()


def _pipeline(world: World, credentials: DuckLakeCredentials) -> dlt.Pipeline:
    return dlt.pipeline(
        "protime",
        destination=dlt.destinations.ducklake(credentials),
        dataset_name=world.dataset,
        pipelines_dir=str(world.folder / "pipelines"),
    )


def _refusal(world: World, way: Callable[..., object], pipeline: dlt.Pipeline) -> Any:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - dlt wraps what a resource raises
        way(pipeline)
    assert world.tenant.requests == []
    return explain(caught.value)

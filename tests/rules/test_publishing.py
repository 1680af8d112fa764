"""`publish_to`: after each run readers have a whole copy of DuckDB's file, made at once."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pendulum
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import (
    PublishError,
    RefusedCollectionsError,
    SettingsError,
    check,
    load,
    protime,
    status,
)
from protime_source.catalogue import ASSIGNMENTS
from protime_source.demo import Behaviour
from protime_source.pipeline.failures import explain
from tests.command import reason, start
from tests.conftest import WorldFactory
from tests.engines import every_engine
from tests.kill_points import MOMENTS, Moment, run_until
from tests.world import World

_EVERYTHING = """
    SELECT table_schema, table_name, table_type FROM information_schema.tables
    WHERE table_schema = 'protime_data' ORDER BY ALL
"""


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the setting puts the copy: another name than the warehouse's."""
    monkeypatch.setenv("SOURCES__PROTIME__PUBLISH_TO", "for readers/plan.duckdb")
    (tmp_path / "for readers").mkdir()
    return tmp_path / "for readers" / "plan.duckdb"


def read(file: Path, sql: str) -> list[tuple[Any, ...]]:
    """What somebody reads who may only read."""
    with closing(duckdb.connect(str(file), read_only=True)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql).fetchall()


def contents(file: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of each table and view of a file."""
    with closing(duckdb.connect(str(file), read_only=True)) as connection:
        names = [name for _, name, _ in connection.execute(_EVERYTHING).fetchall()]
        query = 'FROM protime_data."{}" ORDER BY ALL'
        return {name: connection.execute(query.format(name)).fetchall() for name in names}


def is_whole(world: World, copy: Path) -> bool:
    """Whether each table and view of the warehouse has the same rows in the copy."""
    assert not [*copy.parent.glob(f".{copy.name}*")]
    assert not copy.with_name(f"{copy.name}.wal").exists()
    return contents(copy) == contents(world.database)


@pytest.mark.parametrize("way", ["load", "pipeline.run"])
def test_the_copy_has_tables_views_models_history_and_the_closed_ledger(
    world: World, copy: Path, way: str
) -> None:
    if way == "load":
        summary = load(world.pipeline(), history=True, models=True)
        assert summary.published_to == summary.as_json()["published_to"] == str(copy)
    else:
        world.pipeline().run(protime(history=True, models=True))
    assert is_whole(world, copy)
    names = {name for _, name, _ in read(copy, _EVERYTHING)}
    assert {"assignments__history", "assignments__versions", "planned_days"} <= names
    outcomes = read(copy, "SELECT DISTINCT outcome FROM protime_data.sync_runs")
    assert outcomes == [("succeeded",)]
    assert not copy.stat().st_mode & 0o222
    with closing(duckdb.connect()) as connection:
        connection.execute(f"ATTACH '{copy}' AS anything (READ_ONLY)")
        query = "SELECT count(*) FROM {}protime_data.planned_days"
        attached = connection.execute(query.format("anything.")).fetchall()
    assert attached == world.query(query.format(""))


def test_each_run_makes_a_new_copy_and_who_has_the_old_one_open_keeps_it(
    world: World, copy: Path, tmp_path: Path
) -> None:
    """Also a run without changes; what somebody wrote into a copy is gone with it."""
    load(world.pipeline())
    load(world.pipeline())
    assert read(copy, "SELECT count(*) FROM protime_data.sync_runs") == [(2,)]
    query = "SELECT count(*) FROM protime_data.assignments"
    with closing(duckdb.connect(str(copy), read_only=True)) as reader:
        world.tenant.create(world.tenant.records[min(world.tenant.records)])
        load(world.pipeline())
        assert reader.execute(query).fetchall() == [(300,)]
    assert read(copy, query) == [(301,)]
    copy.chmod(0o644)
    with closing(duckdb.connect(str(copy))) as writer:
        writer.execute("CREATE TABLE protime_data.mine (id INTEGER)")
        wal = copy.with_name("plan.duckdb.wal")
        with pytest.raises(PublishError, match="a program has the old one open for writing"):
            load(world.pipeline())
        as_after_a_kill = [shutil.copy(each, tmp_path) for each in (copy, wal)]
    for each in as_after_a_kill:
        shutil.copy(each, copy.parent)
    load(world.pipeline())
    assert is_whole(world, copy)


def test_the_copy_is_read_by_those_who_could_read_the_old_one(world: World, copy: Path) -> None:
    load(world.pipeline(), publish_to="first.duckdb")
    world.database.chmod(0o640)
    load(world.pipeline())
    assert copy.stat().st_mode & 0o777 == 0o440
    copy.chmod(0o444)
    load(world.pipeline())
    assert copy.stat().st_mode & 0o777 == 0o444


def test_a_link_leads_to_the_copy(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, target = tmp_path / "link.duckdb", tmp_path / "target.duckdb"
    link.symlink_to(target)
    monkeypatch.setenv("SOURCES__PROTIME__PUBLISH_TO", str(link))
    load(world.pipeline())
    assert link.is_symlink()
    assert read(link, "SELECT count(*) FROM protime_data.assignments") == [(300,)]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_while_it_is_made_leaves_the_old_copy_or_the_new_one(
    world: World, copy: Path, moment: Moment
) -> None:
    load(world.pipeline())
    old = copy.read_bytes()
    world.tenant.churn(5)
    assert run_until("copy's name", moment, world)
    is_new = moment == "after"
    assert (copy.read_bytes() == old) is not is_new
    assert is_new is not any(copy.parent.glob(".*"))
    assert read(copy, "SELECT count(*) FROM protime_data.sync_runs") == [(1 + is_new,)]
    load(world.pipeline())
    world.check()
    assert is_whole(world, copy)


def test_without_its_folder_all_is_loaded_and_the_command_fails(world: World, copy: Path) -> None:
    copy.parent.rmdir()
    failed = start(world).finish()
    assert failed.returncode == 4
    assert "its folder does not exist. Create it" in reason(failed)
    assert "All that was loaded is in the warehouse; readers have none." in reason(failed)
    assert "Loaded into" in failed.stdout
    world.check()
    copy.parent.mkdir()
    assert f"Published to {copy}." in " ".join(str(load(world.pipeline())).split())
    assert is_whole(world, copy)


def test_dlts_own_run_does_not_fail_for_a_copy_but_says_so(
    world: World, copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Dlt lets nothing fail a run after its load."""
    copy.parent.rmdir()
    world.pipeline().run(protime())
    [line] = [each for each in caplog.records if each.levelname == "ERROR"]
    assert "its folder does not exist. Create it" in line.getMessage()
    assert line.exc_info is None
    world.check()


def test_a_copy_that_cannot_be_written_leaves_the_old_one(
    world: World, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, other = small_disk / "plan.duckdb", small_disk / "other"
    monkeypatch.setenv("SOURCES__PROTIME__PUBLISH_TO", str(copy))

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(small_disk)], check=True)

    try:
        load(world.pipeline())
        old = copy.read_bytes()
        for wanted in ("needs room", "cannot be written"):
            if wanted == "needs room":
                other.write_bytes(bytes(6 * 2**20 - 2 * len(old) + 2**18))
            else:
                other.unlink()
                remount("size=6m,ro")
            world.tenant.churn(5)
            with pytest.raises(PublishError, match=f"{wanted}.*; the old copy, of 20") as raised:
                load(world.pipeline())
            live_rows = raised.value.summary.tables["assignments"].live_rows
            assert live_rows == len(world.tenant.records)
            assert copy.read_bytes() == old
            assert not [*small_disk.glob(".*")]
            world.check()
        remount("size=50m,rw")
        load(world.pipeline())
        assert is_whole(world, copy)
    finally:
        subprocess.run(["umount", "--lazy", small_disk], check=True)


def test_a_file_that_this_process_has_open_is_not_copied(world: World, copy: Path) -> None:
    """It could change while it is copied, and the end of the copy would end its lock."""
    load(world.pipeline())
    old = copy.read_bytes()
    with (
        closing(duckdb.connect(str(world.database))),
        pytest.raises(PublishError, match="this Python process has the warehouse open itself"),
    ):
        load(world.pipeline())
    assert copy.read_bytes() == old


def test_what_was_loaded_beside_a_refused_collection_is_published(
    make_world: WorldFactory, copy: Path
) -> None:
    world = make_world(behaviour=Behaviour(granted_scopes=(ASSIGNMENTS.read_scope,)))
    with pytest.raises(RefusedCollectionsError):
        load(world.pipeline(), collections=("assignments", "people"))
    assert is_whole(world, copy)


def test_a_run_that_fails_publishes_nothing(world: World, copy: Path) -> None:
    load(world.pipeline())
    old = copy.read_bytes()
    with pytest.raises(PipelineStepFailed):
        world.pipeline().run(protime(start_date="2001-01-01"))
    assert copy.read_bytes() == old


REFUSED = {
    "warehouse.duckdb": "the warehouse itself",
    "same.duckdb": "the warehouse itself",
    "protime_data.duckdb": "cannot tell a file of that name from the dataset",
    "folder": "that is a folder",
    "notes.txt": "no DuckDB file",
    "analysis.duckdb": "a DuckDB file already that no run has put there",
}


def test_a_place_where_no_copy_can_be_is_refused_before_anything_is_loaded(
    world: World, tmp_path: Path
) -> None:
    world.run()
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("what somebody wants to keep")
    (tmp_path / "same.duckdb").symlink_to(world.database)
    with closing(duckdb.connect(str(tmp_path / "analysis.duckdb"))) as analysis:
        analysis.execute("CREATE TABLE kept AS SELECT 1 AS n")
    before = world.database.read_bytes()
    world.tenant.clear_requests()
    for name, message in REFUSED.items():
        with pytest.raises(SettingsError, match=message):
            load(world.pipeline(), publish_to=str(tmp_path / name))
    with pytest.raises(PipelineStepFailed) as raised:
        world.pipeline().run(protime(publish_to=str(world.database)))
    assert explain(raised.value).exit_code == 2
    assert (world.requests, world.database.read_bytes()) == (0, before)
    assert (tmp_path / "notes.txt").read_text() == "what somebody wants to keep"
    assert read(tmp_path / "analysis.duckdb", "FROM kept") == [(1,)]


@every_engine
def test_other_engines_refuse_it(world: World) -> None:
    """Each can be read while a run works; a user who switches must not wait for a copy."""
    if world.engine.name == "duckdb":
        pipeline = dlt.pipeline("memory", destination=dlt.destinations.duckdb(duckdb.connect()))
        message = "an open connection of duckdb"
    else:
        pipeline, message = world.pipeline(), f"the destination is {world.engine.name}"
    with pytest.raises(SettingsError, match=message):
        load(pipeline, publish_to="plan.duckdb")
    assert world.requests == 0
    assert not Path("plan.duckdb").exists()


def test_status_knows_the_copy_and_sees_one_that_is_left_behind(world: World, copy: Path) -> None:
    load(world.pipeline())
    found = status(world.pipeline())
    assert found.healthy
    assert f"Copy for readers {copy}, of {pendulum.now('UTC'):%Y-%m-%d}" in " ".join(
        str(found).split()
    )
    assert found.as_json()["published"]["path"] == str(copy)
    earlier = copy.stat().st_mtime - timedelta(hours=1).total_seconds()
    os.utime(copy, (earlier, earlier))
    [problem] = status(world.pipeline()).problems
    assert f"{copy}: the copy for readers is of" in problem
    unfinished = copy.with_name(f".{copy.name}.protime")
    unfinished.touch()
    assert status(world.pipeline()).healthy  # a run is making a new one
    os.utime(unfinished, (earlier, earlier))
    assert not status(world.pipeline()).healthy  # a run was killed while it did
    copy.unlink()
    [problem] = status(world.pipeline()).problems
    assert "does not exist" in problem


def test_status_is_unhealthy_at_once_after_a_run_whose_copy_failed(
    world: World, copy: Path
) -> None:
    load(world.pipeline())
    copy.parent.rename("moved away")
    with pytest.raises(PublishError):
        load(world.pipeline())
    Path("moved away").rename(copy.parent)
    [problem] = status(world.pipeline()).problems
    assert "the copy for readers is of" in problem
    load(world.pipeline())
    assert status(world.pipeline()).healthy


def test_check_says_where_the_copy_goes_or_why_it_cannot(world: World, copy: Path) -> None:
    found = check(world.pipeline())
    assert found.exit_code == 0
    assert any(each.name == "copy's folder" for each in found.lines)
    copy.parent.rmdir()
    [problem] = check(world.pipeline()).problems
    assert (problem.name, problem.exit_code) == ("publish_to", 4)
    [problem] = check(world.pipeline(), publish_to=str(world.database)).problems
    assert (problem.name, problem.exit_code) == ("publish_to", 2)

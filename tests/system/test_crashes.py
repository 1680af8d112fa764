"""Killed at any moment, the next run is right."""

from __future__ import annotations

import resource
import shutil
import signal
import time
from collections.abc import Callable
from datetime import date

import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import SettingsError, WarehouseError, protime
from protime_source.demo import Behaviour
from protime_source.pipeline.failures import explain
from protime_source.pipeline.load import load
from tests.command import reason, run_here, start
from tests.conftest import WorldFactory
from tests.kill_points import CREATION_POINTS, run_until
from tests.world import World

TODAY = date.today().isoformat()


def _again(world: World) -> None:
    finished = run_here(world)
    assert finished.returncode == 0, finished.stderr
    world.check()


@pytest.mark.parametrize("folder", ["kept", "lost"])
def test_killed_while_it_waits_for_a_page(make_world: WorldFactory, folder: str) -> None:
    world = make_world()
    world.run()
    world.tenant.churn(50, seed=1)
    world.tenant.clock.advance(hours=73)
    world.tenant.behaviour = Behaviour(latency=0.2)
    for _ in range(2):
        world.tenant.clear_requests()
        process = start(world)
        process.wait_until(lambda: world.requests > 1)
        process.send_signal(signal.SIGKILL)
        process.finish()
        if folder == "lost":
            shutil.rmtree(world.folder / "dlt", ignore_errors=True)
    world.tenant.behaviour = Behaviour()
    _again(world)


@pytest.mark.parametrize("missing", ["normalized", "loaded", "new"])
def test_killed_while_dlt_makes_its_folders(world: World, missing: str) -> None:
    """A first run was killed between two of them, with its package extracted."""
    pipeline = world.pipeline()
    pipeline.extract(protime())
    folders = pipeline._get_load_storage()
    for name in {"normalized", "loaded", "new"} - {missing}:
        folders.storage.create_folder(name)
    folders.storage.save(folders.VERSION_FILE, folders.STORAGE_VERSION)
    assert load(world.pipeline()).pending == 1
    world.check()


@pytest.mark.parametrize("point", CREATION_POINTS)
def test_killed_while_the_database_is_created(make_world: WorldFactory, point: str) -> None:
    """The next run finds no file that DuckDB refuses, and leaves none that nobody needs."""
    world = make_world(rows=30)
    assert run_until(point, "after", world), f"never came by: {point}"
    load(world.pipeline())
    world.check()
    files = [path.name for path in world.database.parent.iterdir() if "duckdb" in path.name]
    assert files == [world.database.name]


def test_a_package_left_behind_is_loaded_first_and_then_what_is_new(world: World) -> None:
    pipeline = world.run()
    world.tenant.churn(50, seed=1)
    pipeline.extract(protime())
    world.tenant.churn(50, seed=2)
    summary = load(world.pipeline())
    assert summary.pending == 1
    assert "left was loaded first" in str(summary)
    world.check()


STOPS = [
    (signal.SIGINT, "normalize/extracted/*"),
    (signal.SIGTERM, "load/normalized/*"),
    (signal.SIGINT, "load/normalized/*/started_jobs/*"),
]
"""Signals, and the files of dlt's working folder that appear when a step has begun."""


@pytest.mark.parametrize(("number", "step"), STOPS)
def test_stopped_while_it_loads(
    make_world: WorldFactory, step: str, number: signal.Signals
) -> None:
    world = make_world(rows=10_000, page_size=1000)
    process, has_begun = start(world), False
    while process.poll() is None and not (has_begun := _has_begun(world, step)):
        time.sleep(0.002)
    assert has_begun
    process.send_signal(number)
    stopped = process.finish()
    if stopped.returncode:
        assert stopped.returncode == 128 + number
        assert "Stopped on request" in reason(stopped)
    _again(world)


def _has_begun(world: World, step: str) -> bool:
    return any((world.folder / "dlt" / "pipelines" / "protime").glob(step))


@pytest.mark.parametrize("kilobytes", [1, 100, 1000])
def test_a_limit_on_the_size_of_files(make_world: WorldFactory, kilobytes: int) -> None:
    """Writing fails wherever the file that grows past it happens to be."""
    world = make_world(rows=6000, page_size=2000)
    process = start(world, LOAD__RAISE_ON_MAX_RETRIES="1")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (kilobytes * 1024,) * 2)
    failed = process.finish()
    assert failed.returncode != 0
    assert "File too large" in reason(failed)
    _again(world)


def test_a_package_that_the_working_folder_has_not_noted_is_not_fetched_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A kill after the package is complete, and before dlt writes its own state beside it."""
    world.run()
    world.tenant.churn(30)
    world.tenant.clock.advance(hours=73)
    noted = world.folder / "pipelines" / "protime" / "state.json"
    before = noted.read_bytes()
    world.pipeline().extract(protime())
    noted.write_bytes(before)
    world.tenant.clear_requests()
    caplog.clear()
    load(world.pipeline())
    world.check()
    assert world.requests == 1
    assert "another consumer" not in caplog.text


def test_a_package_that_is_loaded_but_not_put_away_does_not_stop_dlt(world: World) -> None:
    """A kill after dlt has marked the package, and before it moves it."""
    world.run()
    world.tenant.churn(30)
    world.run()
    packages = world.folder / "pipelines" / "protime" / "load"
    loaded = max((packages / "loaded").iterdir())
    jobs = loaded / "completed_jobs"
    jobs.mkdir()
    (jobs / "assignments.0123456789.0.parquet").write_bytes(b"")
    loaded.rename(packages / "normalized" / loaded.name)
    world.tenant.churn(30)
    assert load(world.pipeline()).pending == 1
    world.check()
    assert loaded.is_dir()
    assert not jobs.exists(), "dlt is configured to delete what is loaded"


def _refused(world: World) -> Callable[[], object]:
    """A table that refuses the next delta; the way to let it in again."""
    world.run()
    world.query(f"CREATE UNIQUE INDEX once ON {world.dataset}.assignments (comments)")
    for _ in range(2):
        world.tenant.create({"person": {"id": 7}, "from": TODAY, "comments": "same"})
    return lambda: world.query(f"DROP INDEX {world.dataset}.once")


@pytest.mark.parametrize(
    ("engine", "aborts"), [("duckdb", "false"), ("postgres", "true")], indirect=["engine"]
)
def test_rows_that_the_table_refuses_are_not_forgotten(
    make_world: WorldFactory, monkeypatch: pytest.MonkeyPatch, aborts: str
) -> None:
    """Whether dlt keeps the package or gives it up."""
    monkeypatch.setenv("LOAD__AUTO_ABORT_ON_TERMINAL_ERROR", aborts)
    world = make_world(rows=1)
    let_in = _refused(world)
    with pytest.raises(PipelineStepFailed) as caught:
        load(world.pipeline())
    assert explain(caught.value).exit_code == WarehouseError.exit_code
    let_in()
    load(world.pipeline())
    world.check()


def test_dlt_must_not_go_on_over_rows_that_the_table_refuses(
    make_world: WorldFactory, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    world = make_world(rows=1)
    let_in = _refused(world)
    world.tenant.clear_requests()
    for name in ("LOAD__RAISE_ON_FAILED_JOBS", "PROTIME__LOAD__RAISE_ON_FAILED_JOBS"):
        with subtests.test(name), monkeypatch.context() as settings:
            settings.setenv(name, "false")
            with pytest.raises(PipelineStepFailed) as caught:
                world.run()
            assert explain(caught.value).exit_code == SettingsError.exit_code
            assert "raise_on_failed_jobs" in explain(caught.value).message
            assert world.requests == 0
    let_in()
    world.run()
    world.check()


def test_dlt_must_tell_when_a_load_has_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENABLE_RUNTIME_TRACE", "false")
    with pytest.raises(PipelineStepFailed) as caught:
        world.run()
    assert explain(caught.value).exit_code == SettingsError.exit_code
    assert "enable_runtime_trace" in explain(caught.value).message
    assert world.requests == 0
    monkeypatch.delenv("ENABLE_RUNTIME_TRACE")
    world.run()
    world.check()

"""Every test has a folder, a configuration and a tenant of its own."""

from __future__ import annotations

import atexit
import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from protime_source.demo import DemoServer, DemoTenant
from tests.command import end_started
from tests.dlt_shortcuts import take_shortcuts
from tests.engines import (
    BigQueryEngine,
    DuckDBEngine,
    DuckLakeEngine,
    Engine,
    PostgresEngine,
    lead_to_bigquery,
)
from tests.servers.bigquery import BigQueryServer
from tests.servers.ducklake import lead_to_ducklake
from tests.servers.postgres import PostgresServer
from tests.world import World

# Hundreds of processes start in the tests: the first writes what the others would compile again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _use_memory_for_files() -> None:
    """Temporary folders lie in memory, where there is room: no run waits for a disk."""
    memory, room = "/dev/shm", 6 * 2**30  # noqa: S108 - the folders in it get names of their own
    if "TMPDIR" in os.environ or not os.path.isdir(memory):
        return
    system = os.statvfs(memory)
    if system.f_bavail * system.f_frsize > room and not system.f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = tempfile.tempdir = memory


_use_memory_for_files()
take_shortcuts()

WorldFactory = Callable[..., World]


def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as there are cores: a test often waits for a server or a process."""
    return (os.cpu_count() or 1) * 3 // 2


def pytest_collection_finish() -> None:
    """What is imported by now stays, and a run makes little: to look for garbage takes a tenth."""
    gc.freeze()
    atexit.register(gc.unfreeze)  # see `use_little_memory`
    gc.set_threshold(20_000)


@pytest.fixture(scope="session", autouse=True)
def _no_configuration(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Dlt has no file of configuration, wherever the tests were started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("empty"))
        Container()[PluggableRunContext].reload_providers()


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of the machine's, no waiting, no telemetry."""
    for name in list(os.environ):
        if name.startswith(("SOURCES__", "DESTINATION", "RUNTIME__", "COLUMNS")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("RUNTIME__REQUEST_BACKOFF_FACTOR", "0.01")
    monkeypatch.setenv("LOAD__DELETE_COMPLETED_JOBS", "true")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One for all tests of a worker."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def bigquery_server() -> Iterator[BigQueryServer]:
    """One for all tests of a worker."""
    with BigQueryServer() as server:
        yield server


@pytest.fixture
def make_engine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Engine]]:
    """Makes an empty warehouse of a test's own."""
    with ExitStack() as ends:

        def make(name: str) -> Engine:
            match name:
                case "postgres":
                    server = request.getfixturevalue("postgres_server")
                    return PostgresEngine(server.create_database())
                case "bigquery":
                    emulator = request.getfixturevalue("bigquery_server")
                    lead_to_bigquery(emulator, monkeypatch)
                    ends.callback(emulator.drop_datasets)
                    return BigQueryEngine(emulator, emulator.new_dataset())
                case "ducklake_postgres":
                    server = request.getfixturevalue("postgres_server")
                    return _lake(server.create_database(), tmp_path, monkeypatch)
                case "ducklake_sqlite":
                    catalog = f"sqlite:///{tmp_path / 'catalog.sqlite'}"
                    return _lake(catalog, tmp_path, monkeypatch)
            file = DuckDBEngine(tmp_path / "warehouse.duckdb")
            ends.callback(file.close)
            return file

        yield make


def _lake(catalog: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> DuckLakeEngine:
    lead_to_ducklake(monkeypatch, catalog, folder / "lake")
    return DuckLakeEngine(catalog, folder / "lake")


@pytest.fixture
def engine(request: pytest.FixtureRequest, make_engine: Callable[[str], Engine]) -> Engine:
    """DuckDB, unless the test is parametrised over engines."""
    return make_engine(getattr(request, "param", "duckdb"))


@pytest.fixture
def make_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> Iterator[WorldFactory]:
    """Makes a tenant with the arguments of `DemoTenant`, and points the source at it."""
    with ExitStack() as servers:

        def make(**arguments: Any) -> World:
            tenant = DemoTenant(**{"rows": 300, "page_size": 50, **arguments})
            server = servers.enter_context(DemoServer(tenant))
            for name, value in server.environment().items():
                monkeypatch.setenv(name, value)
            return World(tenant, server, tmp_path, engine)

        try:
            yield make
        finally:
            end_started()


@pytest.fixture
def world(make_world: WorldFactory) -> World:
    """A tenant of 300 assignments in pages of 50."""
    return make_world()


@pytest.fixture
def every_page_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that dlt has the rows of a page before the next one is used."""
    monkeypatch.setattr("protime_source.sync.prefetch.BATCH_BYTES", 1)
    monkeypatch.setattr("protime_source.decode.tables.ROWS_PER_GROUP", 1)


@pytest.fixture
def every_page_is_a_package(every_page_is_a_table: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a run loads each page of a full load before it takes the next one."""
    monkeypatch.setattr("protime_source.pipeline.load.PACKAGE_BYTES", 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A disk of six megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    return folder

"""DuckDB's extensions for a lake, from packages: the host that DuckDB asks need not be reached."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dlt.common.configuration.specs.connection_string_credentials import ConnectionStringCredentials
from dlt.destinations.impl.ducklake.sql_client import DuckLakeSqlClient

from tests.servers.cache import cache_folder, only_one

_EXTENSIONS = ("ducklake", "postgres_scanner", "sqlite_scanner")
_CREDENTIALS = "DESTINATION__DUCKLAKE__CREDENTIALS"

_connect = duckdb.connect


def lead_to_ducklake(monkeypatch: pytest.MonkeyPatch, catalog: str, files: Path) -> None:
    """Leads dlt to a lake, for the whole test.

    DuckDB verifies an extension's signature whenever an instance loads it, which takes a quarter of
    a second; those in memory, as dlt opens them for a lake, here do without.
    """
    for name, value in lake_settings(catalog, files).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(duckdb, "connect", _connect_unverified)


def lake_settings(catalog: str, files: Path) -> dict[str, str]:
    """What leads the command line to a lake."""
    return {
        f"{_CREDENTIALS}__CATALOG": catalog,
        f"{_CREDENTIALS}__STORAGE__BUCKET_URL": str(files),
        # Its tables are tiny.
        f"{_CREDENTIALS}__GLOBAL_CONFIG": json.dumps(
            {"extension_directory": str(_extensions()), "threads": 1}
        ),
    }


@contextmanager
def connect_to_lake(catalog: str, files: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of a reader's own."""
    attach = DuckLakeSqlClient.build_attach_statement(
        ducklake_name="ducklake",
        catalog=ConnectionStringCredentials(catalog),
        storage_url=str(files),
    )
    with closing(_connect_unverified(":memory:")) as connection:
        connection.execute(f"SET extension_directory = '{_extensions()}'; SET TimeZone = 'UTC'")
        connection.execute(attach)
        connection.execute("USE ducklake")
        yield connection


def _connect_unverified(database: Any = ":memory:", **settings: Any) -> duckdb.DuckDBPyConnection:
    if database == ":memory:":
        unverified = {"allow_unsigned_extensions": "true"}
        settings["config"] = {**(settings.get("config") or {}), **unverified}
    return _connect(database, **settings)


@cache
def _extensions() -> Path:
    """The folder in which they are installed; skips the test when a package is missing."""
    folder = cache_folder() / "duckdb-extensions"
    files = [_file(name) for name in _EXTENSIONS]
    with only_one(folder.with_name("duckdb-extensions.lock")), closing(_connect()) as connection:
        connection.execute(f"SET extension_directory = '{folder}'")
        for file in files:
            connection.execute(f"INSTALL '{file}'")
    return folder


def _file(name: str) -> Path:
    spec = find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        pytest.skip(f"the package duckdb-extension-{name.replace('_', '-')} is not installed")
    version = f"v{duckdb.__version__}"
    file = Path(spec.origin).parent / "extensions" / version / f"{name}.duckdb_extension"
    if not file.exists():
        pytest.skip(f"{spec.name} is not made for DuckDB {version}")
    return file

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
from dlt.destinations.impl.ducklake.sql_client import DuckLakeSqlClient
from dlt.common.configuration.specs.connection_string_credentials import ConnectionStringCredentials

from tests.servers.cache import cache_folder, only_one

_EXTENSIONS = ("ducklake", "postgres_scanner", "sqlite_scanner")
_CREDENTIALS = "DESTINATION__DUCKLAKE__CREDENTIALS"

_connect = duckdb.connect


def lead_to_ducklake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leads DuckDB to its extensions, for the whole test.

    DuckDB verifies an extension's signature whenever an instance loads it, which takes a quarter of
    a second; those in memory, as dlt opens them for a lake, here do without.
    """
    monkeypatch.setenv(f"{_CREDENTIALS}__GLOBAL_CONFIG", _global_config())
    monkeypatch.setattr(duckdb, "connect", _connect_unverified)


def lake_settings(catalog: str, files: Path) -> dict[str, str]:
    """What leads the command line to a lake."""
    return {
        f"{_CREDENTIALS}__CATALOG": catalog,
        f"{_CREDENTIALS}__STORAGE": str(files),
        f"{_CREDENTIALS}__GLOBAL_CONFIG": _global_config(),
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


def _global_config() -> str:
    return json.dumps({"extension_directory": str(_extensions())})


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
